"""Scripts that complete command lines."""

from __future__ import annotations

import pytest

from hardpairs.cli.completion import SHELLS, main


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_completes_this_command(shell, capsys):
    assert main([shell]) == 0
    script = capsys.readouterr().out
    ends = {"bash": "-F _python_argcomplete hardpairs", "fish": "--command hardpairs"}
    assert ends.get(shell, "compdef _python_argcomplete hardpairs") in script


def test_other_shells_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["tcsh"])
    assert stop.value.code == 2 and "bash, zsh, fish" in capsys.readouterr().err.replace("'", "")
