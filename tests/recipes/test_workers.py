import pytest

from hardpairs.recipes.workers import Workers


class Letters:
    """Writes the letters that it is given into a folder."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, letter):
        if letter == "?":
            raise ValueError("no letter")
        (self.folder / letter).touch()


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_item_is_done_once_and_an_error_comes_through(tmp_path, jobs, capsys):
    with Workers(Letters(tmp_path), jobs, Letters, tmp_path) as workers:
        workers.run("letters", "write", ["a", "b", "c"])
        assert "3 of 3" in capsys.readouterr().err
        with pytest.raises(ValueError, match="no letter"):
            workers.run("letters", "write", ["d", "?"])
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "d"}
