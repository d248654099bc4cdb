"""Print the script that makes a shell complete ``hardpairs`` command lines.

eval "$(hardpairs completion bash)"           # in ~/.bashrc; zsh likewise in ~/.zshrc
hardpairs completion fish | source            # in ~/.config/fish/config.fish
"""

from __future__ import annotations

from hardpairs.core.errors import Exit
from hardpairs.core.parser import Parser

SHELLS = ("bash", "zsh", "fish")


def main(argv: list[str] | None = None) -> int:
    """Print the completion script of the shell that is named."""
    parser = Parser(
        prog="hardpairs completion", description="Print the completion script of a shell."
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell to print the script for")
    shell = parser.parse_args(argv).shell

    from argcomplete.shell_integration import shellcode

    print(shellcode(["hardpairs"], shell=shell))
    return Exit.OK
