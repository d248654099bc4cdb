"""The device that a command computes on."""

from __future__ import annotations

from hardpairs.core.errors import usage


def choose_device(name: str | None) -> str:
    """Return the device of that name; without a name, ``cuda`` where there is one, else ``cpu``.

    Raises:
        UserError: Exit 2 for a device that PyTorch does not know or this machine does not have.
    """
    if name == "cpu":
        return name
    if name is not None:
        check_device(name)
        return name
    import torch  # not at the top: commands import this module before they parse

    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str) -> None:
    """Raise UserError (exit 2) for a device that PyTorch or this machine does not have."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise usage(f"no such device: {device}", why=reason, fix="`device` cpu") from None
