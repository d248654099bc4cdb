"""The plot command: files, refusals, what cannot be drawn; no screen, no model."""

import numpy as np
import pytest
from PIL import Image

from hardpairs.cli.plot import main
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.embedding.stream import Embedded
from tests.helpers import run as run_process
from tests.photos.runs import write_evaluated, write_photos, write_run

FIGURES = ["training_curves", "retrieval_results", "similarity_heatmap", "embedding_space"]


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def evaluated(photos):
    return write_evaluated(photos)


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Fewer pixels: drawing them takes most of the time."""
    monkeypatch.setattr("hardpairs.pages.charts.DPI", 40)


def test_all_figures_under_the_seeds_names_twice_with_the_same_bytes(evaluated, tmp_path, capsys):
    """``test_one_image_and_one_caption_each`` has the default name, that of the model."""
    for out in ("one", "two"):
        assert main([str(evaluated), "--out", str(tmp_path / out), "--name", "a/b c"]) == 0
        told = capsys.readouterr()
        paths = [tmp_path / out / f"{name}_a_b_c.png" for name in FIGURES]
        assert told.out.split("\n") == [*map(str, paths), ""] and not told.err
    for path in paths:
        with Image.open(path) as image:
            assert (
                image.format == "PNG"
                and min(image.size) > 80
                and len(image.convert("L").getcolors()) > 20
            )
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    assert not list((tmp_path / "two").glob(".*"))


def test_needs_no_screen_whatever_backend_is_set(evaluated, tmp_path):
    command = ("python", "-m", "tools.plot_run", str(evaluated), "--out", str(tmp_path / "plots"))
    done = run_process(*command, env={"MPLBACKEND": "TkAgg", "DISPLAY": ""})
    assert done.returncode == 0 and len(done.stdout.split()) == 4 and not done.stderr, done.stderr


def test_what_cannot_be_drawn_is_named(photos, tmp_path, capsys):
    """A collapsed model that was not trained here: no curves, no map."""
    samples = open_samples(photos)
    same = np.tile(np.array([1, 0], np.float32), (12, 1))
    folder = write_run(
        photos, "run", "lstm", rows=Embedded(same, same, np.arange(len(samples)), {})
    )
    assert main([str(folder), "--out", str(tmp_path / "plots")]) == 0
    told = capsys.readouterr()
    assert (
        len(told.out.split()) == 2
        and "left out: training_curves" in told.err
        and "all are equal" in told.err
    )


def test_one_image_and_one_caption_each(tmp_path, capsys):
    for name, captions in (("one", [["a cup"]]), ("single", [["cup"], ["tree"], ["dog"]])):
        data = write_photos(tmp_path / name, captions)
        folder = write_run(data, "run", "lstm")
        assert main([str(folder), "--out", str(tmp_path / name / "plots")]) == 0
        assert (tmp_path / name / "plots/retrieval_results_lstm.png").is_file() and (
            tmp_path / name / "plots/similarity_heatmap_lstm.png"
        ).is_file()
    assert "fewer than 5 points" in capsys.readouterr().err


def test_wrong_input(photos, tmp_path):
    folder = write_run(photos, "run", "lstm")
    other = write_photos(tmp_path / "other", [["cup"], ["tree"]])

    def code(*more):
        with pytest.raises(UserError) as error:
            main([*more, "--out", str(tmp_path / "plots")])
        return error.value.code

    assert code(str(tmp_path / "nowhere")) == 2 and code(str(tmp_path)) == 3
    assert (
        code(str(folder), "--data", str(other)) == 4
        and code(str(folder), "--data", "gone.csv") == 2
    )
    (folder / "drawn.npz").unlink()
    assert code(str(folder)) == 3 and not (tmp_path / "plots").exists()
