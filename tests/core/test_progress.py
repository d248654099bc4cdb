"""Progress that survives a kill: complete pieces, one recipe, nothing left over."""

import os
import signal
import time

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from hardpairs.core import ranges
from hardpairs.core.errors import Exit, UserError
from hardpairs.core.progress import Progress, check_recipe, differing, made_once
from tests.object_store import make_store


def test_pieces_are_found_again(tmp_path, capsys):
    first = Progress(tmp_path / "p", {"seed": 1}, kind="sums")
    assert not first.begin() and not first.has("a") and first.load("a") is None
    first.save("b", x=np.arange(3), y=np.ones(2))
    first.save("a", x=np.zeros(1))

    second = Progress(tmp_path / "p", {"seed": 1}, kind="sums")
    assert second.begin() and list(second.names()) == ["a", "b"]
    assert "going on with the unfinished sums" in capsys.readouterr().err
    loaded = second.load("b", ["x"])
    assert list(loaded) == ["x"] and loaded["x"].tolist() == [0, 1, 2]
    second.forget("b")
    second.forget("b")
    assert list(second.names()) == ["a"]
    second.remove()
    assert not (tmp_path / "p").exists()


def test_pieces_in_a_store(tmp_path, monkeypatch):
    store = make_store(tmp_path.name, monkeypatch)
    first = Progress(store / "p", {"seed": 1}, kind="sums")
    assert not first.begin() and first.load("a") is None
    first.save("a", x=np.arange(3), y=np.ones(2))
    second = Progress(store / "p", {"seed": 1}, kind="sums")
    assert second.begin() and [*second.names()] == ["a"]
    assert second.load("a", ["x"])["x"].tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="of another kind: seed differs"):
        Progress(store / "p", {"seed": 2}).begin()
    with monkeypatch.context() as patch:
        patch.setattr(ranges, "WAITS", ())

        def refuse(*_, **__):
            raise ConnectionError("reset")

        patch.setattr(MemoryFileSystem, "cat_file", refuse)
        with pytest.raises(UserError, match="does not answer as it should") as error:
            second.load("a")
    assert error.value.code == Exit.BAD_INPUT  # and not: damaged, delete it
    second.remove()
    assert not second.has("a") and not [*second.names()]


def test_a_file_where_the_folder_would_be_is_no_other_recipe(tmp_path):
    (tmp_path / "out").write_text("a thesis")
    progress = Progress(tmp_path / "out/.unfinished", {"seed": 1})
    assert not progress.begin() and progress.differing() == []
    with pytest.raises(NotADirectoryError):
        progress.save("a", x=np.arange(3))


def test_another_recipe_is_refused_or_discarded(tmp_path, capsys):
    Progress(tmp_path, {"seed": 1, "size": 2}).save("a", x=np.arange(3))
    other = Progress(tmp_path, {"seed": 2, "size": 2, "new": None})
    with pytest.raises(UserError, match="unfinished work of another kind: seed differs") as error:
        other.begin()
    assert error.value.code == Exit.MISMATCH and other.has("a")
    assert not other.begin(discard=True)
    assert not tmp_path.exists() and "other seed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a", "pool0/plan"])
def test_a_removal_that_is_killed_leaves_nothing_to_go_on_with(name, tmp_path, monkeypatch):
    progress = Progress(tmp_path, {"seed": 1})
    progress.claim()
    Progress(tmp_path, {"seed": 1}).save(name, x=np.arange(3))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda _: None)
        progress.remove()
    assert not Progress(tmp_path, {"seed": 1}).begin(discard=True)
    assert not tmp_path.exists()


def test_a_piece_of_another_process_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(UserError, match="of another process are not there") as error:
        Progress(tmp_path, {}).load_others("lists0_1")
    assert error.value.code == Exit.MISMATCH and "lists0_1" in error.value.where


def test_pieces_without_a_recipe_are_of_another_one(tmp_path):
    Progress(tmp_path, {"seed": 1}).save("a", x=np.arange(3))
    (tmp_path / "key.json").write_text("{torn")
    with pytest.raises(UserError, match="seed differs"):
        Progress(tmp_path, {"seed": 1}).begin()
    (tmp_path / "key.json").unlink()
    with pytest.raises(UserError, match="seed differs"):
        Progress(tmp_path, {"seed": 1}).begin()


def test_older_recipes_may_lack_optional_names():
    assert differing({"a": 1}, {"a": 1, "b": (2, 3)}) == ["b"]
    assert differing({"a": 1}, {"a": 1, "b": 2}, optional=["b"]) == []
    assert differing({"a": 1, "b": 3}, {"a": 1, "b": 2}, optional=["b"]) == ["b"]
    assert differing({"a": [1, 2]}, {"a": (1, 2)}) == []


def test_the_recipe_is_computed_once_and_only_when_needed(tmp_path):
    calls = []
    progress = Progress(tmp_path / "p", lambda: calls.append(1) or {"seed": 1})
    assert not progress.begin() and calls == []
    for name in "ab":
        progress.save(name, x=np.zeros(1))
    assert calls == [1]


def test_only_the_owner_keeps_the_recipe(tmp_path):
    owner = Progress(tmp_path, {"seed": 1})
    owner.claim()
    other = Progress(tmp_path, lambda: pytest.fail("asked for the recipe"), owner=False)
    assert not other.begin()
    other.save("rank1", x=np.zeros(1))
    other.remove()
    assert owner.has("rank1")


def test_damaged_pieces_are_refused(tmp_path):
    progress = Progress(tmp_path, {})
    progress.save("lists", numbers=np.arange(1000))
    path = tmp_path / "lists.npz"
    whole = path.read_bytes()
    for content in (whole[:-7], whole[:300], b"", whole[:500] + b"\x7f" + whole[501:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged unfinished work") as error:
            progress.load("lists")
        assert error.value.code == Exit.MISMATCH and error.value.where == str(path)


def test_commits_are_due_after_some_seconds(tmp_path):
    assert Progress(tmp_path, {}, every=0).due()
    slow = Progress(tmp_path, {}, every=3600)
    slow.save("a", x=np.zeros(1))
    assert not slow.due()


def test_arrays_are_shared_by_mapping(tmp_path):
    progress = Progress(tmp_path / "p", {})
    progress.create_map("rows", (2, 3), np.float32)
    progress.map("rows")[1] = 7
    assert progress.map("rows").tolist() == [[0, 0, 0], [7, 7, 7]]
    assert not list(progress.names())


def test_killed_writers_leave_whole_pieces_and_the_next_run_cleans_up(tmp_path):
    folder = tmp_path / "p"
    for attempt in range(8):
        child = os.fork()
        if not child:
            progress = Progress(folder, {"seed": 1})
            progress.begin()
            for number in range(10_000):
                progress.save(f"{number % 3}", x=np.full(20_000, number))
            os._exit(0)
        time.sleep(0.01 + 0.004 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    progress = Progress(folder, {"seed": 1})
    progress.begin()
    assert not list(folder.glob(".*"))
    for name in progress.names():
        assert len(set(progress.load(name)["x"].tolist())) == 1


def test_a_recipe_file_alone(tmp_path):
    path = tmp_path / "recipe.json"
    assert not check_recipe(path, {"lr": 0.1}, kind="a run")
    path.write_text('{"lr": 0.1, "data": ["a"]}')
    assert check_recipe(path, {"lr": 0.1, "data": ("a",)}, kind="a run")
    with pytest.raises(UserError, match="a run of another kind: data, lr differ"):
        check_recipe(path, {"lr": 0.2}, kind="a run")
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="a run of another kind"):
        check_recipe(path, {"lr": 0.2}, kind="a run")


def test_an_array_is_made_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return np.arange(3)

    for _ in range(2):
        assert made_once(tmp_path / "new/x.npy", make).tolist() == [0, 1, 2]
    assert calls == [1]
