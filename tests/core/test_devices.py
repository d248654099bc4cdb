"""The device of a command."""

import subprocess
import sys

import pytest
import torch

from hardpairs.core.devices import choose_device
from hardpairs.core.errors import UserError
from tests.helpers import ROOT


def test_a_device_is_chosen():
    assert choose_device(None) == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu" and choose_device("meta") == "meta"
    with pytest.raises(UserError, match="no such device: abacus") as error:
        choose_device("abacus")
    assert error.value.code == 2


def test_a_named_cpu_needs_no_torch():
    code = "import sys; from hardpairs.core.devices import choose_device as c; c('cpu')"
    line = [sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"]
    assert subprocess.run(line, cwd=ROOT / "src").returncode == 0
