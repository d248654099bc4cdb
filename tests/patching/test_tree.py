"""The patches on one tree: our copy of the trainer, and a clone of the user's."""

from __future__ import annotations

import shutil

from hardpairs.core.errors import Exit
from hardpairs.patching import companions, folders, series, targets
from hardpairs.patching.diff import PACKAGE
from hardpairs.patching.series import load_series
from tests.patching.clones import INSTALLED, edit, git, snapshot


def test_generated_tree(run, generated):
    assert run("--check").code == Exit.MISMATCH
    assert run().code == 0
    patched = snapshot(generated)
    times = {path: path.stat().st_mtime_ns for path in generated.rglob("*")}
    changed = [
        name
        for name in patched
        if name != folders.MANIFEST and patched[name] != (INSTALLED / name).read_bytes()
    ]
    assert sorted(changed) == sorted(
        {file for patch in load_series("3.3.0") for file in patch.files}
    )
    assert run("--check").code == 0
    again = run()
    assert again.code == 0 and "nothing to do" in again.err
    assert times == {path: path.stat().st_mtime_ns for path in generated.rglob("*")}
    assert run("--reverse").code == 0
    assert list(generated.parent.iterdir()) == []
    assert run("--reverse").code == 0


def test_generated_tree_is_renewed_when_the_patches_changed(run, generated, tmp_path, monkeypatch):
    older = tmp_path / "patches"
    shutil.copytree(series.PATCHES, older)
    sorted(older.glob("*.patch"))[-1].unlink()
    first = sorted(older.glob("02*.patch"))[0]
    first.write_text("An older title\n" + first.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(series, "PATCHES", older)
        assert run().code == 0
    check = run("--check")
    assert check.code == Exit.MISMATCH and "older" in check.out and "missing" in check.out
    assert run().code == 0
    assert run("--check").code == 0


def test_generated_tree_is_renewed_when_openclip_changed(run, generated, tmp_path, monkeypatch):
    other = shutil.copytree(
        INSTALLED, tmp_path / "other" / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    (other / "logger.py").write_text("# another OpenCLIP\n" + (other / "logger.py").read_text())
    with monkeypatch.context() as patch:
        patch.setattr(targets, "installed_trainer", lambda: ("3.3.0", other))
        assert run().code == run("--check").code == 0
    assert run("--check").code == Exit.MISMATCH
    assert "logger.py" in run().err and run("--check").code == 0


def test_series_of_the_generated_tree(run, generated):
    assert run("--series", "mends").code == 0
    assert "hardpairs.training.hooks" not in (generated / "main.py").read_text()
    assert run("--check", "--series", "mends").code == 0
    assert run("--check").code == Exit.MISMATCH
    assert run().code == 0
    assert run("--reverse", "--series", "hooks").code == 0
    assert run("--check", "--series", "mends").code == 0
    assert "hardpairs.training.hooks" not in (generated / "main.py").read_text()


def test_a_generated_tree_that_was_edited_is_not_lost(run, generated):
    run()
    edit(generated / "zero_shot.py", "def run(", "def walk(")
    before = snapshot(generated)
    for argv in ((), ("--reverse",), ("--series", "mends")):
        result = run(*argv)
        assert result.code == Exit.MISMATCH and "zero_shot.py" in result.err
    assert snapshot(generated) == before


def test_a_folder_that_is_not_ours_is_left_alone(run, generated):
    generated.mkdir()
    (generated / "main.py").write_text("mine\n")
    assert run().code == Exit.MISMATCH
    assert snapshot(generated) == {"main.py": b"mine\n"}


def test_clone_with_local_commits(run, clone):
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    assert {f"?? src/{name}/" for name in companions.COMPANIONS} <= set(
        git(clone, "status", "--short").splitlines()
    )
    for name, source in companions.COMPANIONS.items():
        placed = {
            file: content
            for file, content in snapshot(clone / "src" / name).items()
            if file != folders.MANIFEST
        }
        assert placed == snapshot(source)
    assert "# ours: one" in (clone / "src" / PACKAGE / "main.py").read_text()
    assert run("--check", "--target", clone).code == 0
    again = snapshot(clone)
    result = run("--target", clone)
    assert result.code == 0 and "nothing to do" in result.err and snapshot(clone) == again
    assert run("--reverse", "--target", clone).code == 0
    assert snapshot(clone) == before
    assert git(clone, "status", "--short") == ""


def test_edits_elsewhere_survive_applying_and_reversing(run, clone):
    tree = clone / "src" / PACKAGE
    run("--target", clone)
    patched = {name: (tree / name).read_text() for name in ("main.py", "data.py")}
    for name, text in patched.items():
        (tree / name).write_text("# a new first line\n" * 40 + text + "# a new last line\n")
    assert run("--check", "--target", clone).code == 0
    assert run("--reverse", "--target", clone).code == 0
    assert (
        git(clone, "diff", "--numstat")
        == f"41\t0\tsrc/{PACKAGE}/data.py\n41\t0\tsrc/{PACKAGE}/main.py\n"
    )
    assert run("--target", clone).code == 0
    assert (tree / "main.py").read_text() == "# a new first line\n" * 40 + patched[
        "main.py"
    ] + "# a new last line\n"


def test_edited_lines_are_refused_whole_and_named(run, clone):
    tree = clone / "src" / PACKAGE
    edit(
        tree / "data.py",
        "df = pd.read_csv(input_filename, sep=sep)",
        "df = pd.read_csv(input_filename, sep=sep, nrows=5)",
    )
    edit(
        tree / "main.py",
        "(dist_model, device_ids=[device], **ddp_args)",
        "(dist_model, **ddp_args)",
    )
    before = snapshot(clone)
    lines = {name: (tree / name).read_text().splitlines() for name in ("data.py", "main.py")}
    data_line = next(i for i, line in enumerate(lines["data.py"], 1) if "nrows=5" in line)
    main_line = next(
        i for i, line in enumerate(lines["main.py"], 1) if "(dist_model, **ddp_args)" in line
    )
    for argv in ((), ("--series", "mends"), ("--dry-run",)):
        result = run("--target", clone, *argv)
        assert result.code == Exit.MISMATCH
        assert (
            f"data.py:{data_line}: expected 'df = pd.read_csv(input_filename, sep=sep)'"
            in result.err
        )
        assert f"main.py:{main_line}: expected 'dist_model = " in result.err
        assert snapshot(clone) == before
    assert (
        run("--target", clone, "--series", "hooks").code == 0
    )  # the edits are in the way of mends only
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_lines_of_ours_that_were_edited_are_not_taken_off(run, clone):
    run("--target", clone)
    edit(
        clone / "src" / PACKAGE / "main.py",
        "tokenizer = get_tokenizer(args)",
        "tokenizer = get_tokenizer(args)  # mine",
    )
    before = snapshot(clone)
    result = run("--target", clone, "--reverse")
    assert (
        result.code == Exit.MISMATCH
        and "# mine" in result.err
        and "0102-hook-builders" in result.err
    )
    assert snapshot(clone) == before


def test_windows_line_ends(run, clone):
    tree = clone / "src" / PACKAGE
    for file in tree.glob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    for file in tree.glob("*.py"):
        assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n")
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_series_come_and_go_by_themselves(run, clone):
    before = snapshot(clone)
    run("--target", clone, "--series", "mends")
    mended = snapshot(clone)
    run("--target", clone, "--series", "hooks")
    assert run("--target", clone, "--check").code == 0
    run("--target", clone, "--reverse", "--series", "hooks")
    assert {
        name: content for name, content in snapshot(clone).items() if folders.MANIFEST not in name
    } == {name: content for name, content in mended.items() if folders.MANIFEST not in name}
    run("--target", clone, "--reverse")
    assert snapshot(clone) == before


def test_a_patch_that_the_user_applied_stays_the_users(run, clone):
    git(clone, "apply", str(series.PATCHES / "0201-mend-cpu-ddp.patch"))
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    assert "nothing to do" in run("--target", clone).err
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_after_git_took_the_patches_off(run, clone):
    run("--target", clone)
    git(clone, "checkout", "--quiet", ".")
    assert run("--target", clone, "--check").code == Exit.MISMATCH
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    git(clone, "checkout", "--quiet", ".")
    assert run("--target", clone, "--reverse").code == 0
    assert git(clone, "status", "--short") == ""
