"""What ends a run on several processes or machines is told without a traceback of torch."""

from tests.helpers import run


def test_a_machine_that_never_comes():
    environment = {"NODES": "2", "HEAD": "localhost:29987", "PROCESSES": "1", "TIMEOUT": "2"}
    done = run("bash", "scripts/train_multinode.sh", "--lr", "1", env=environment)
    assert done.returncode == 7 and "did not find each other" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_rank_that_says_why_it_failed():
    done = run("bash", "scripts/train_node.sh", "--nothing", env={"PROCESSES": "2"})
    assert done.returncode == 2 and "there is no flag --nothing" in done.stderr
    assert "Traceback" not in done.stderr and "ChildFailedError" not in done.stderr
