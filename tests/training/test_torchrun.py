"""A machine that never comes is one message, and no traceback of torch."""

from tests.helpers import run


def test_a_machine_that_never_comes():
    environment = {"NODES": "2", "HEAD": "localhost:29987", "PROCESSES": "1", "TIMEOUT": "2"}
    done = run("bash", "scripts/train_multinode.sh", "--lr", "1", env=environment)
    assert done.returncode == 7 and "did not find each other" in done.stderr
    assert "Traceback" not in done.stderr
