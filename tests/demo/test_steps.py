"""Steps of real commands: marks, logs, a failure, a server, SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from hardpairs.core.errors import UserError
from hardpairs.demo.steps import Step, enough_space, run_steps
from tests.processes import has_ended

MAKE = "import sys; open(sys.argv[1], 'a').write('x'); print('made')"
SERVE = "import sys, time; open(sys.argv[1], 'w').write('up'); time.sleep(60)"
NEEDS_SERVER = "import os, sys; os.kill(int(open(sys.argv[1]).read()), 0)"


def make(name, folder, *, code=MAKE, **fields):
    result = folder / name
    return Step(name, (sys.executable, "-c", code, str(result)), result, **fields)


def test_a_step_runs_once(tmp_path):
    steps = [make("one", tmp_path), make("two", tmp_path)]
    for _ in range(2):
        run_steps(steps, tmp_path / "out")
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text() == "x"
    assert (tmp_path / "out/logs/one.out").read_text() == "made\n"
    rows = [line.split("\t") for line in (tmp_path / "out/steps.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["one", "two"] and all(float(row[1]) >= 0 for row in rows)
    assert rows[0][2].startswith("python -c ")


def test_what_follows_on_a_repeated_step_is_repeated(tmp_path):
    steps = [make("one", tmp_path), make("two", tmp_path), make("three", tmp_path)]
    run_steps(steps, tmp_path / "out")
    (tmp_path / "two").unlink()
    run_steps(steps, tmp_path / "out")
    contents = [(tmp_path / name).read_text() for name in ("one", "two", "three")]
    assert contents == ["x", "x", "xx"]
    run_steps(steps, tmp_path / "out", force=True)
    assert (tmp_path / "one").read_text() == "xx"


def test_a_fresh_folder_is_removed_before_its_step(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "left").touch()
    code = "import os, sys; os.mkdir(sys.argv[1])"
    run_steps([make("folder", tmp_path, code=code, fresh=folder)], tmp_path / "out")
    assert not list(folder.iterdir())


def test_a_failed_step_ends_the_series_with_its_code(tmp_path, capsys):
    code = "import sys; print('error: no good', file=sys.stderr); sys.exit(3)"
    steps = [make("bad", tmp_path, code=code), make("after", tmp_path)]
    with pytest.raises(UserError) as failure:
        run_steps(steps, tmp_path / "out")
    assert failure.value.code == 3 and not (tmp_path / "after").exists()
    assert "error: no good" in (tmp_path / "out/logs/bad.log").read_text()
    assert "error: no good" in capsys.readouterr().err


LEFT = """
import os, signal, sys, time
if os.path.exists(sys.argv[1] + ".pid"):
    open(sys.argv[1], "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {os.getppid()}")
os.rename(sys.argv[1] + ".new", sys.argv[1] + ".pid")
time.sleep(60)
"""
"""A command that is killed with what has started it, or lives on; and comes to its end when it is run again."""


def test_what_a_killed_series_has_left_is_ended_by_the_next(tmp_path):
    step = make("one", tmp_path, code=LEFT)
    if not (series := os.fork()):
        try:
            run_steps([step], tmp_path / "out")
        finally:
            os._exit(1)
    noted = tmp_path / "one.pid"
    while not noted.exists():
        time.sleep(0.01)
    left, parent = map(int, noted.read_text().split())
    assert parent == series
    with pytest.raises(UserError) as failure:
        run_steps([step], tmp_path / "out")
    assert failure.value.code == 2 and "another job works on the steps" in failure.value.text()
    os.kill(series, signal.SIGKILL)
    os.waitpid(series, 0)
    run_steps([step], tmp_path / "out")
    assert has_ended(left, 0.1) and step.result.exists()


def test_a_server_runs_while_it_is_needed(tmp_path):
    ready = tmp_path / "server.json"
    serve = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    server = ((sys.executable, "-c", serve, str(ready)), ready)
    uses = (sys.executable, "-c", NEEDS_SERVER, str(ready))
    steps = [
        Step("first", uses, ready, server=server),
        Step("second", uses, ready, server=server),
        make("after", tmp_path),
    ]
    run_steps(steps, tmp_path / "out")
    with pytest.raises(ProcessLookupError):
        os.kill(int(ready.read_text()), 0)


def test_sigterm_ends_the_command_too(tmp_path):
    """The child gets SIGINT, since a terminal's Ctrl-C would reach it and SIGTERM does not."""
    script = f"""
import sys
from pathlib import Path
from hardpairs.core.errors import run_command
from hardpairs.demo.steps import Step, run_steps, sigterm_as_interrupt
out = Path({str(tmp_path)!r})
step = Step("wait", (sys.executable, "-c", {SERVE!r}, str(out / "up")), out / "never")
def main():
    with sigterm_as_interrupt():
        run_steps([step], out / "out")
run_command(main)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "up").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    process.stderr.close()


def test_a_full_disk_is_refused_first(tmp_path):
    with pytest.raises(UserError, match="GB are free") as refused:
        enough_space(tmp_path, 10**12)
    assert refused.value.code == 5
