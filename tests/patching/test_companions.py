"""Our package beside a user's clone: in the way, edited, older."""

from __future__ import annotations

import shutil

from hardpairs.core.errors import Exit
from hardpairs.patching import companions
from tests.patching.clones import snapshot


def test_a_folder_in_the_way_is_named(run, clone):
    (clone / "src" / "hardpairs").mkdir()
    (clone / "src" / "hardpairs" / "mine.py").write_text("mine\n")
    before = snapshot(clone)
    for argv in ((), ("--dry-run",), ("--series", "hooks")):
        result = run("--target", clone, *argv)
        assert (
            result.code == Exit.MISMATCH
            and "hardpairs/" in result.err
            and snapshot(clone) == before
        )
    assert run("--target", clone, "--series", "mends").code == 0
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_work_in_our_packages_is_not_lost(run, clone):
    run("--target", clone)
    hooks = clone / "src" / "hardpairs" / "training" / "hooks" / "build.py"
    original = hooks.read_bytes()
    hooks.write_bytes(original + b"# mine\n")
    result = run("--target", clone, "--reverse")
    assert result.code == Exit.MISMATCH and "build.py" in result.err
    assert run("--target", clone, "--check").code == Exit.MISMATCH
    hooks.write_bytes(original)
    mine = clone / "src" / "hardpairs" / "mine.py"
    mine.write_text("mine\n")
    assert run("--target", clone, "--reverse").code == 0
    assert [path.name for path in mine.parent.iterdir()] == ["mine.py"]


def test_older_packages_are_renewed(run, clone, tmp_path, monkeypatch):
    older = tmp_path / "older"
    shutil.copytree(companions.COMPANIONS["hardpairs"], older)
    (older / "gone.py").write_text("gone\n")
    with monkeypatch.context() as patch:
        patch.setitem(companions.COMPANIONS, "hardpairs", older)
        run("--target", clone)
    assert run("--target", clone, "--check").code == Exit.MISMATCH
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    assert not (clone / "src" / "hardpairs" / "gone.py").exists()
