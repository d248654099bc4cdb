"""Figures of a run: what they say is what the results say; what cannot be drawn is named; no screen, no model."""

import numpy as np
import pytest
from PIL import Image

from hardpairs.cli.plot import main
from hardpairs.core.errors import UserError
from hardpairs.data.samples import open_samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.drawn import read_drawn
from hardpairs.evaluating.runs import read_run
from hardpairs.reporting.plots import style
from hardpairs.reporting.plots.curves import training_curves
from hardpairs.reporting.plots.heatmap import similarity_heatmap
from hardpairs.reporting.plots.pictures import square
from hardpairs.reporting.plots.retrieved import retrieval_results
from hardpairs.reporting.plots.space import embedding_space, projected
from hardpairs.training.logs import read_log, read_validation
from tests.helpers import run as run_process
from tests.photos.runs import write_logs, write_photos, write_run

FIGURES = ["training_curves", "retrieval_results", "similarity_heatmap", "embedding_space"]


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def evaluated(photos):
    """A trained and evaluated run; one picture is gone since."""
    folder = write_run(photos, "run", "lstm", noise=1.5)
    write_logs(folder)
    (photos.parent / "images/2.jpg").unlink()
    return folder


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Fewer pixels: drawing them takes most of the time."""
    monkeypatch.setattr(style, "DPI", 40)


def texts_of(figure):
    return [
        text.get_text()
        for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))
        if text.get_text()
    ]


def test_all_figures_under_the_seeds_names(evaluated, tmp_path, capsys):
    assert main([str(evaluated), "--out", str(tmp_path / "plots")]) == 0
    told = capsys.readouterr()
    assert (
        told.out.split() == [str(tmp_path / f"plots/{name}_lstm.png") for name in FIGURES]
        and not told.err
    )
    for path in told.out.split():
        with Image.open(path) as image:
            assert (
                image.format == "PNG"
                and min(image.size) > 80
                and len(image.convert("L").getcolors()) > 20
            )
    assert not list((tmp_path / "plots").glob(".*"))


def test_the_same_results_give_the_same_bytes(evaluated, tmp_path):
    for out in ("one", "two"):
        assert main([str(evaluated), "--out", str(tmp_path / out), "--name", "a/b c"]) == 0
    for name in FIGURES:
        assert (tmp_path / f"one/{name}_a_b_c.png").read_bytes() == (
            tmp_path / f"two/{name}_a_b_c.png"
        ).read_bytes()


def test_needs_no_screen_whatever_backend_is_set(evaluated, tmp_path):
    command = ("python", "-m", "tools.plot_run", str(evaluated), "--out", str(tmp_path / "plots"))
    done = run_process(*command, env={"MPLBACKEND": "TkAgg", "DISPLAY": ""})
    assert done.returncode == 0 and len(done.stdout.split()) == 4 and not done.stderr, done.stderr


def test_curves_are_the_logs(evaluated):
    log, validation = (
        read_log(evaluated / "metrics.csv"),
        read_validation(evaluated / "checkpoints/results.jsonl"),
    )
    loss, recall = training_curves(log, validation, "lstm").axes
    assert loss.lines[0].get_xydata().tolist() == [[step, 4 / (step + 1)] for step in range(8)]
    of_text = next(line for line in recall.lines if line.get_label() == "text → image")
    assert of_text.get_xydata() == pytest.approx(np.array([[1, 10], [2, 20], [3, 30]]))
    assert "best mean: epoch 3" in " ".join(texts_of(recall))


def test_a_long_log_has_a_running_mean_and_gaps_are_no_matter():
    step = np.arange(100.0)
    noise = np.where(step % 2, 1.0, 3.0)
    noise[50] = np.nan
    axes = training_curves({"step": step, "loss": noise}, [], "x").axes[0]
    logged, mean = axes.lines
    assert len(logged.get_xdata()) == 99 and np.abs(mean.get_ydata() - 2).max() < 0.5
    assert training_curves({}, [{"epoch": 1.0, "val_loss": 2.0}], "x") is None
    assert (
        len(training_curves({"step": step[:1], "loss": noise[:1]}, [], "x").axes) == 1
    )  # one logged step


def test_retrieved_images_are_marked_as_they_are(evaluated, photos):
    samples, queries = open_samples(photos), read_run(evaluated).queries
    figure = retrieval_results(samples, queries, "lstm")
    lines = np.array(figure.axes).reshape(5, 6)
    rights = 0
    for words, *cells in lines:
        caption, rank = (text.get_text() for text in words.texts)
        query = next(
            i
            for i, row in enumerate(queries["text_rows"])
            if samples.caption(row) == caption.replace("\n", " ")
            and str(queries["text_to_image_ranks"][i]) == rank.split()[-1]
        )
        for axes, row in zip(cells, queries["text_to_image_top"][query], strict=False):
            right = samples.group(row) == samples.group(queries["text_rows"][query])
            verdict, rights = axes.get_title(), rights + right
            assert verdict.startswith("✓ right" if right else "✗ ")
            assert axes.spines["left"].get_edgecolor()[:3] == pytest.approx(
                tuple(
                    int((style.RIGHT if right else style.WRONG)[i : i + 2], 16) / 255
                    for i in (1, 3, 5)
                )
            )
            others = {
                samples.group(i)
                for i in range(12)
                if samples.caption(i) == samples.caption(queries["text_rows"][query])
            }
            assert (verdict == "✗ same words") == (not right and samples.group(row) in others)
    assert rights and any("not\nreadable" in text for text in texts_of(figure))


def test_heat_map_holds_the_cosines(evaluated, photos):
    samples, drawn = open_samples(photos), read_drawn(evaluated)
    figure = similarity_heatmap(samples, drawn, "lstm")
    axes = max(figure.axes, key=lambda axes: len(axes.texts))
    count = len(axes.get_yticks())
    captions = [label.get_text() for label in axes.get_yticklabels()]
    assert count * count == len(axes.texts) and len(set(captions)) == count
    places = [
        next(
            p
            for p, row in enumerate(drawn["text_rows"])
            if samples.caption(row) == c.replace("\n", " ")
        )
        for c in captions
    ]
    cosines = drawn["text"][places] @ drawn["image"][drawn["text_image"][places]].T
    assert [text.get_text().replace("−", "-") for text in axes.texts] == [
        f"{value:.2f}" for value in cosines.ravel()
    ]
    own = int((cosines.argmax(axis=1) == np.arange(count)).sum())
    assert any(f"{own} of these {count} captions" in text for text in texts_of(figure))


def test_map_joins_captions_with_their_images(evaluated, photos):
    samples, drawn = open_samples(photos), read_drawn(evaluated)
    axes = embedding_space(samples, drawn, "lstm").axes[0]
    captions, images = (points.get_offsets() for points in axes.collections)
    assert len(images) == 6 and len(captions) == 12 == len(axes.lines)
    for line, caption, owner in zip(axes.lines, captions, drawn["text_image"], strict=True):
        assert line.get_xydata() == pytest.approx(np.stack([caption, images[owner]]))
    points = np.concatenate([drawn["image"], drawn["text"]])
    assert (
        np.array_equal(projected(points), projected(points))
        and np.isfinite(projected(points)).all()
    )


def test_neighbours_stay_neighbours_on_the_map():
    rng = np.random.default_rng(0)
    bunches = np.repeat(rng.normal(size=(4, 16)), 10, axis=0)
    places = projected(bunches + 0.01 * rng.normal(size=bunches.shape))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(40)
    assert (distance.argmin(axis=1) // 10 == np.arange(40) // 10).all()


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
        and "all in one place" in told.err
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


def test_pictures_are_whole_and_square(photos):
    samples = open_samples(photos)
    Image.new("RGB", (60, 30), "red").save(photos.parent / "images/0.jpg")
    tile = square(samples, 0, 40)
    assert (
        tile.shape == (40, 40, 3)
        and (tile[2] > 250).all()
        and tile[20, 20, 0] > 200 > tile[20, 20, 1]
    )
    (photos.parent / "images/0.jpg").write_bytes(b"<html>")
    assert square(samples, 0) is None


def test_long_strange_captions_stay_in_their_place():
    assert style.lines_of("a \u202ecat\n" + "x" * 300, 10, 2).count("\n") == 1
    assert style.lines_of("", 10, 2) == "" and style.lines_of("short", 10, 2) == "short"
