"""torchrun, which says in one message that not all machines came."""

from __future__ import annotations

import sys

from hardpairs.core.errors import Exit, UserError, write_status


def main() -> None:
    """Run torchrun with the arguments of the command line; exit 7 when machines do not come."""
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.run import main as torchrun

    try:
        torchrun()
    except RendezvousError as error:
        reason = " ".join(str(error).split())
        text = UserError(
            Exit.PEER_FAILED,
            "the machines did not find each other" + (f": {reason}" if reason else ""),
            fix="start the same line on each machine, with a HEAD that all can reach; TIMEOUT is "
            "how many seconds they wait",
        ).text()
        write_status(Exit.PEER_FAILED, text)
        sys.exit(int(Exit.PEER_FAILED))


if __name__ == "__main__":
    main()
