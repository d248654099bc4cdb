"""patches/4.x/02*: each mend for OpenCLIP's main, by the pages of docs/upstream that offer it.

A page's script prints what the page says, without the change and with it; the test that it proposes
fails without the change and passes with it. Both need a clone of main: OPEN_CLIP_MAIN is its path.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import traceback
from pathlib import Path

import pytest
import webdataset

from hardpairs.patching.diff import PACKAGE, apply_patch, parse_patch, patch_state
from hardpairs.patching.series import MAIN, PATCHES
from tests.helpers import ROOT
from tests.patches.conftest import Copy
from tests.patches.test_mend_checkpoints import UNSAFE, load, save_canary
from tests.patches.test_mend_decode import SUFFIXES, one_epoch, shard_with
from tests.patches.test_mend_evaluation import accuracy

MENDS = sorted((PATCHES / MAIN).glob("02*.patch"))
PAGES = sorted((ROOT / "docs/upstream").glob("0*.md"))
OFFERS = ROOT / "docs/upstream/offers.md"
BLOCK = re.compile(r"^```(?:python|text)\n(.*?)^```$", re.M | re.S)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def in_a_fork(output: Path, action: str, *arguments: str) -> tuple[int, str]:
    """Do something in a forked process with ``output`` as its streams.

    Args:
        output: Where the standard output goes; errors go to a file beside it.
        action: ``run``: a program, its text following; ``test``: pytest, its arguments following.
        *arguments: What the action takes.

    Returns:
        The exit status and what was printed.
    """
    child = os.fork()
    if child == 0:
        status = 1
        with open(output, "w") as out, open(f"{output}.err", "w") as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        try:
            if action == "run":
                exec(compile(arguments[0], "page.py", "exec"), {"__name__": "__main__"})
                status = 0
            else:
                status = int(pytest.main(list(arguments)))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, output.read_text() + ("" if status == 0 else Path(f"{output}.err").read_text())


def parts_of(page: Path) -> tuple[str, str, str, str]:
    """Return a page's script, what it prints without and with the change, and the test."""
    script, before, after, test = BLOCK.findall(page.read_text())
    return script, before, after, test


def run_test(copy: Copy, page: Path, output: Path) -> tuple[int, str]:
    """Add a page's test to the file of the clone that the page names, and run it there."""
    text = page.read_text()
    name = re.search(r"^In `tests/(test_\w+\.py)`:$", text, re.M)
    assert name is not None
    test = parts_of(page)[3]
    tests = copy.source / "tests"
    if not tests.exists():
        shutil.copytree(Path(os.environ["OPEN_CLIP_MAIN"]) / "tests", tests)
    file = tests / name[1]
    before = file.read_text() if file.exists() else ""
    file.write_text(f"{before}\n\n{test}")
    nodes = [f"{file}::{found}" for found in re.findall(r"^def (test_\w+)", test, re.M)]
    flags = ["-qx", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tests)]
    try:
        return copy.call(in_a_fork, output, "test", *flags, *nodes)
    finally:
        file.write_text(before)


def test_each_mend_has_a_page():
    assert [mend.stem.replace("-mend", "") for mend in MENDS] == [page.stem for page in PAGES]


@each_page
def test_page_names_its_patch(page):
    text = page.read_text()
    patch = re.sub(r"^(\d+)", r"\1-mend", page.stem)
    assert f"[{patch}.patch](../../patches/4.x/{patch}.patch)" in text
    assert len(BLOCK.findall(text)) == 4


def added(patch: Path) -> list[str]:
    """Return the lines that a patch adds."""
    return re.findall(r"^\+(?!\+\+).*", patch.read_text(), re.M)


def test_table_of_the_mends():
    """docs/upstream.md says of each mend how main has it."""
    table = re.findall(
        r"^\| \[(\d+) ([\w-]+)\].* \| (.+) \| (.*) \|$",
        (ROOT / "docs/upstream.md").read_text(),
        re.M,
    )
    expected = []
    for patch in sorted(PATCHES.glob("02*.patch")):
        number, name = patch.stem.split("-mend-")
        own, page = PATCHES / MAIN / patch.name, f"{number}-{name}"
        state, offered = "not needed", ""
        if own in MENDS:
            state = "the same change" if added(own) == added(patch) else "another form"
            offered = f"[{page}](upstream/{page}.md)"
        expected.append((number, name, state, offered))
    assert table == expected


def test_any_order(plain_main):
    """All patches for main, hooks too, give the same in any order, and each fits by itself."""
    trainer = plain_main.source / PACKAGE
    files = {path.name: path.read_bytes() for path in trainer.glob("*.py")}
    folder = PATCHES / MAIN
    patches = [parse_patch(file.stem, file.read_text()) for file in sorted(folder.glob("*.patch"))]
    rng, results = random.Random(0), []
    for _ in range(5):
        result = files
        for patch in rng.sample(patches, len(patches)):
            assert patch_state(patch, result) == patch_state(patch, files) == "open", patch.name
            result = apply_patch(patch, result)
        results.append(result)
    assert all(result == results[0] for result in results)


def test_what_main_does_not_need(mended_main, tmp_path):
    """0203, 0209 and 0213: no member and no checkpoint runs code, accuracy works with any numpy."""
    for suffix in SUFFIXES:
        (tmp_path / suffix).mkdir()
        assert len(mended_main.call(one_epoch, shard_with(tmp_path / suffix, suffix))) == 8
        assert not list((tmp_path / suffix).glob("ran-*"))
    mended_main.call(save_canary, str(tmp_path / "epoch_1.pt"), str(tmp_path / "ran"))
    with pytest.raises(Exception, match="Weights only load failed"):
        mended_main.call(load, str(tmp_path / "epoch_1.pt"), UNSAFE)
    assert not (tmp_path / "ran").exists()
    assert mended_main.call(accuracy) == [1.0, 2.0]


@each_page
def test_script_of_the_page(page, plain_main, mended_main, tmp_path):
    version = [int(part) for part in webdataset.__version__.split(".")[:3]]
    if "shard-end" in page.stem and version <= [0, 2, 86]:
        pytest.skip("this webdataset does not mark the end of a shard")
    script, before, after, _ = parts_of(page)
    assert plain_main.call(in_a_fork, tmp_path / "plain", "run", script) == (0, before)
    assert mended_main.call(in_a_fork, tmp_path / "mended", "run", script) == (0, after)


@each_page
def test_test_of_the_page(page, plain_main, mended_main, tmp_path):
    status, output = run_test(mended_main, page, tmp_path / "mended")
    assert status == 0, output
    status, output = run_test(plain_main, page, tmp_path / "plain")
    assert status == 1 and re.search(r"\d failed", output), output


@pytest.mark.parametrize("number", range(3), ids=["siglip", "false-negatives", "accumulation"])
def test_script_of_an_offer(number, plain_main, tmp_path):
    blocks = BLOCK.findall(OFFERS.read_text())
    script, output = blocks[2 * number : 2 * number + 2]
    assert plain_main.call(in_a_fork, tmp_path / "output", "run", script) == (0, output)


def changed_train(diff: str) -> str:
    """Return a program that makes the change of a diff in the imported ``open_clip_train.train``."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] == " ")
    after = "".join(line[1:] for line in lines)
    return (
        "import pathlib, open_clip_train.train as train\n"
        "text = pathlib.Path(train.__file__).read_text()\n"
        f"assert text.count({before!r}) == 1\n"
        f"exec(text.replace({before!r}, {after!r}), train.__dict__)\n"
    )


def test_the_change_that_an_offer_proposes(plain_main, tmp_path):
    text = OFFERS.read_text()
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", text, re.M | re.S)
    script = changed_train(diff) + BLOCK.findall(text)[4]
    status, output = plain_main.call(in_a_fork, tmp_path / "output", "run", script)
    assert status == 0 and output.count("towers equal True") == 2, output
    assert re.findall(r"times ([\d.]+)", output) == ["1.00", "1.00"]
