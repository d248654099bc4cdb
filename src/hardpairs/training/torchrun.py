"""torchrun, which says in one message that a rank failed, or that not all machines came."""

from __future__ import annotations

import os
import sys

from hardpairs.core.errors import Exit, UserError, write_status


def main() -> None:
    """Run torchrun with the arguments of the command line; exit 7 when machines do not come.

    A rank that has said why it failed is not reported again, with torchrun's own traceback.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
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
    except ChildFailedError:
        if not os.path.isfile(os.environ.get("HARDPAIRS_STATUS_FILE", "")):
            raise
        sys.exit(1)


if __name__ == "__main__":
    main()
