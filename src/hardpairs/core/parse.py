"""JSON and YAML of strangers: a value, or ``ValueError`` and nothing else."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, not Unicode, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text. No tag of it makes an object.

    Raises:
        ValueError: The text is not YAML, or nested too deeply.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("the YAML is nested too deeply") from None
    except (
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
    ) as error:  # of a value that has no form
        raise ValueError(f"the YAML has a value without a form: {error}") from None
