"""The evaluate command: what it writes, class folders, and what it refuses."""

import csv
import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from hardpairs.cli.evaluate import main
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.images import decode
from hardpairs.data.opening import open_samples
from hardpairs.evaluating.plot_embeddings import read_plot_embeddings
from hardpairs.evaluating.runs import open_evaluated, read_run
from hardpairs.models.load import load_encoder
from tests.data.test_clip_benchmark import write_classes, write_retrieval
from tests.data.test_karpathy import write as write_karpathy
from tests.helpers import picture
from tests.photos.runs import write_photos


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


def retrieval_flags(data, checkpoint, *more):
    common = [
        "--model",
        "hardpairs-test",
        "--pretrained",
        str(checkpoint),
        "--data",
        str(data),
        "--out",
        str(data.parent / "run"),
    ]
    return [*common, "--workers", "0", "--device", "cpu", "--method", "lstm", *more]


def test_metrics_by_name_are_added(photos, checkpoint, tmp_path, capsys):
    """A collection of photographs has no labels."""
    assert main(retrieval_flags(photos, checkpoint, "--metrics", "retrieval")) == 0
    numbers = json.loads(capsys.readouterr().out)
    ways = (numbers["image_to_text_R@1"], numbers["text_to_image_R@1"])
    assert numbers["mean_R@1"] == pytest.approx(sum(ways) / 2) and "mAP" not in numbers
    with pytest.raises(UserError, match="which the metric gallery needs") as error:
        main(retrieval_flags(photos, checkpoint, "--metrics", "gallery"))
    assert error.value.code == 3


def test_command_writes_all_of_it(photos, checkpoint, capsys):
    results = photos.parent / "results"
    command = retrieval_flags(
        photos, checkpoint, "--baselines", "--protocol", "both", "--results_dir", str(results)
    )
    assert main(command) == 0
    told = capsys.readouterr()
    stdout, record = (
        json.loads(told.out),
        json.loads((photos.parent / "run/evaluation.json").read_text()),
    )
    assert {
        "baselines",
        "ceiling",
        "miniclip",
        "texts_without_another",
    } <= stdout.keys() and record["miniclip"] == stdout["miniclip"]
    assert (
        "BM25 on other captions" in told.err
        and "MiniCLIP's protocol" in told.err
        and "ceiling (captions repeat)" in told.err
    )
    assert "DEBUG" not in told.err
    with open(photos.parent / "run/evaluation.csv") as file:
        flat = {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}
    assert (
        flat["baselines.random.text_to_image_R@1"] == pytest.approx((10 / 6 + 2 / 3) / 12)
        and flat["miniclip.R@1"] == record["miniclip"]["R@1"]
    )
    assert (
        flat["baselines.bm25.expected.text_to_image_MRR"]
        == record["baselines"]["bm25"]["expected"]["text_to_image_MRR"]
    )
    assert "bag of words" in (photos.parent / "run/evaluation.md").read_text()
    seeds = json.loads((results / "metrics_lstm.json").read_text())
    assert seeds["model_type"] == "lstm" and set(seeds["test_metrics"]) == {
        "R@1",
        "R@5",
        "R@10",
        "MRR",
        "MedR",
    }
    assert seeds["baselines"]["random"]["R@1"] == pytest.approx(100 / 6) and set(
        seeds["baselines"]["bow"]
    ) == {"R@1", "R@5", "R@10", "MRR"}
    assert seeds["training"] == {} and seeds["config"]["model"] == "hardpairs-test"
    assert read_plot_embeddings(photos.parent / "run")["image"].shape[0] == 6


def test_command_without_asking_is_as_it_was(photos, checkpoint, capsys):
    assert main(retrieval_flags(photos, checkpoint)) == 0
    told = capsys.readouterr()
    assert (
        not {"baselines", "ceiling", "miniclip"} & json.loads(told.out).keys()
        and "|" not in told.err
    )
    assert (
        "6 images and 12 captions in 6 groups; 2 captions are in several groups and right for each; "
        "reachable R@1: 100.0 image to text and 88.9 text to image\n" in told.err
    )
    assert main(retrieval_flags(photos, checkpoint, "--protocol", "miniclip")) == 0
    told = capsys.readouterr()
    assert "MiniCLIP's protocol" in told.err and "image → text" not in told.err
    assert "image_to_text_R@1" in json.loads(told.out)  # the report needs ours


def test_baselines_without_data_are_refused(tmp_path, checkpoint):
    for more in (["--baselines"], ["--protocol", "both"], ["--results-dir", "x"]):
        with pytest.raises(UserError, match="about retrieval") as error:
            main(
                [
                    "--model",
                    "hardpairs-test",
                    "--zero-shot",
                    str(tmp_path),
                    "--out",
                    str(tmp_path),
                    *more,
                ]
            )
        assert error.value.code == 2


@pytest.fixture
def folders(tmp_path):
    """Classes of pictures that are all alike within a class, so that a probe can tell them; and one that is no picture."""
    for part, count in (("train", 4), ("test", 2)):
        for i, name in enumerate(("picture", "number", "7")):
            for j in range(count):
                path = tmp_path / "data" / part / name / f"{j}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture(i))
    (tmp_path / "data/test/7/broken.jpg").write_bytes(b"")
    return tmp_path


def flags(folder, checkpoint, *more):
    return [
        "--model",
        "hardpairs-test",
        "--pretrained",
        str(checkpoint),
        "--out",
        f"{folder}/out",
        "--workers",
        "0",
        "--device",
        "cpu",
        *more,
    ]


def test_a_table_without_any_hard_pair_measures_nothing(tmp_path, checkpoint, capsys):
    """As mining makes it where --max_score leaves no partner: legal, and a share of none is no number."""
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(picture(i))
    (tmp_path / "pairs.csv").write_text(
        "filepath,title\n" + "".join(f"{tmp_path}/{i}.jpg,thing {i}\n" for i in range(4))
    )
    folder = table_folder(tmp_path, "pairs")
    fingerprint = open_samples(tmp_path / "pairs.csv").fingerprint
    write_table(
        folder,
        np.full((4, 2), -1),
        np.zeros((4, 2), np.float32),
        {"dataset_fingerprint": fingerprint},
    )
    assert (
        main(
            flags(
                tmp_path,
                checkpoint,
                "--data",
                str(tmp_path / "pairs.csv"),
                "--hard-pairs",
                str(folder),
            )
        )
        == 0
    )
    assert "no row that is evaluated has a hard pair" in capsys.readouterr().err
    record = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert "image_to_text_R@1" in record and not [
        name for name in record if "beats" in name or "mined" in name
    ]
    assert not [name for name in np.load(tmp_path / "out/queries.npz") if "beats" in name]


def test_zero_shot_is_openclips_classifier(folders, checkpoint, capsys):
    (folders / "prompts.txt").write_text("picture {}\n\nnumber {}\n")
    command = flags(
        folders,
        checkpoint,
        "--zero-shot",
        f"{folders}/data/test",
        "--prompts",
        f"{folders}/prompts.txt",
    )
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)["zero_shot"]
    assert (found["classes"], found["pictures"], found["prompts"]) == (3, 6, 2)
    encoder = load_encoder("hardpairs-test", str(checkpoint))
    names = ["7", "number", "picture"]
    with torch.no_grad():
        texts = [
            encoder.model.encode_text(
                encoder.tokenizer([f"picture {n}", f"number {n}"]), normalize=True
            ).mean(0)
            for n in names
        ]
        pixels = torch.stack(
            [
                encoder.transform(decode(picture({"picture": 0, "number": 1, "7": 2}[n])))
                for n in names
            ]
        )
        scores = (
            encoder.model.encode_image(pixels, normalize=True)
            @ torch.nn.functional.normalize(torch.stack(texts), dim=1).T
        )
    expected = np.mean([int(scores[i].argmax()) == i for i in range(3)])
    assert found["top-1"] == pytest.approx(expected)
    assert json.loads((folders / "out/classes.json").read_text())["zero_shot"] == found
    assert len(open_clip.OPENAI_IMAGENET_TEMPLATES) == 80


def test_names_of_classes_from_a_file(folders, checkpoint, caplog, tmp_path):
    """By WordNet id without a word; a warning of codes, and none once the names are given."""
    command = {}
    for name, kinds in (("ids", ("n01440764", "n01443537")), ("codes", ("0001", "0002"))):
        for i, kind in enumerate(kinds):
            (tmp_path / name / kind).mkdir(parents=True)
            (tmp_path / name / kind / "0.JPEG").write_bytes(picture(i))
        command[name] = flags(tmp_path, checkpoint, "--zero-shot", f"{tmp_path}/{name}")
    (tmp_path / "names.txt").write_text("0002\tpicture\n0001\tnumber\n")
    (tmp_path / "templates.txt").write_text("number {c}\n")
    given = ("--classnames", f"{tmp_path}/names.txt", "--templates", f"{tmp_path}/templates.txt")
    for more in (command["ids"], [*command["codes"], *given]):
        assert main(more) == 0 and not caplog.text
        found = json.loads((tmp_path / "out/classes.json").read_text())["zero_shot"]
        assert found["first_classes"] in (["tench", "goldfish"], ["number", "picture"])
    assert found["prompts"] == 1
    assert main(command["codes"]) == 0
    assert "look like codes (0001, 0002)" in caplog.text and "--classnames" in caplog.text


def test_a_linear_probe_on_frozen_features(folders, checkpoint, capsys):
    assert main(flags(folders, checkpoint, "--linear-probe", f"{folders}/data")) == 0
    found = json.loads(capsys.readouterr().out)["linear_probe"]
    assert found["top-1"] == 1 and found["classes"] == 3 and found["pictures"] == 6


def test_choices(tmp_path, checkpoint, capsys):
    """As from a naive loop over the items with OpenCLIP's own calls."""
    items = {
        str(3 * i): {
            "filename": f"{i % 2}.jpg",
            "caption": f"picture number {i}",
            "negative_caption": f"picture number {5 - i}",
        }
        for i in range(5)
    }
    (tmp_path / "swap.json").write_text(json.dumps(items))
    for i in range(2):
        (tmp_path / f"{i}.jpg").write_bytes(picture(i))
    command = flags(
        tmp_path, checkpoint, "--choices", f"{tmp_path}/swap.json", "--images", f"{tmp_path}"
    )
    assert main(command) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)["choices"]
    encoder = load_encoder("hardpairs-test", str(checkpoint))
    right = []
    for item in items.values():
        with torch.no_grad():
            pixels = encoder.transform(Image.open(tmp_path / item["filename"]))[None]
            texts = encoder.tokenizer([item["caption"], item["negative_caption"]])
            image = encoder.model.encode_image(pixels, normalize=True)
            own, other = (image @ encoder.model.encode_text(texts, normalize=True).T)[0]
        right.append(float(own > other))
    assert found["text"] == pytest.approx(np.mean(right)) and found["tied"] == 0
    assert (found["items"], found["images"], found["captions"]) == (5, 2, 6)
    assert "SugarCrepe: equal scores decide 0 items" in told.err
    written = json.loads((tmp_path / "out/choices.json").read_text())
    assert written["choices"] == found and written["model"] == "hardpairs-test"


def test_retrieval_against_a_relevance_file_on_a_karpathy_split(tmp_path, checkpoint, capsys):
    data = write_karpathy(tmp_path)
    (tmp_path / "c.json").write_text(json.dumps({"0": [7000], "1": [7000]}))
    command = flags(tmp_path, checkpoint, "--data", str(data), "--relevance", f"{tmp_path}/c.json")
    with pytest.raises(UserError, match="--split test"):
        main(command)
    assert main([*command, "--split", "test"]) == 0
    told = capsys.readouterr()
    numbers = json.loads(told.out)["relevance"]
    assert numbers["text_to_image_mAP@R"] == numbers["image_to_text_R-Precision"] == 1
    assert "R-Precision" in told.err and "the other way round" in told.err
    record = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert record["split"] == "test" and record["relevance"] == numbers
    assert "relevance.text_to_image_mAP@R" in (tmp_path / "out/evaluation.csv").read_text()
    assert len(open_evaluated(read_run(tmp_path / "out"))) == 2


def test_clip_benchmarks_layout(tmp_path, checkpoint, capsys):
    """Retrieval as a naive any-hit count, with ties against the model; classes by its templates."""
    write_retrieval(tmp_path / "pairs")
    write_classes(tmp_path / "classes")
    command = ["--data", f"{tmp_path}/pairs", "--zero-shot", f"{tmp_path}/classes"]
    assert main(flags(tmp_path, checkpoint, *command)) == 0
    retrieval, classes = map(json.loads, capsys.readouterr().out.splitlines())
    assert (retrieval["images"], retrieval["texts"]) == (4, 10)
    samples = open_samples(tmp_path / "pairs")
    encoder = load_encoder("hardpairs-test", str(checkpoint))
    with torch.no_grad():
        pixels = [encoder.transform(decode(picture(i))) for i in range(4)]
        images = encoder.model.encode_image(torch.stack(pixels), normalize=True)
        texts = encoder.model.encode_text(encoder.tokenizer(list(samples.captions)), normalize=True)
    scores = (images @ texts.T).numpy()
    own = np.unique(samples.images, return_inverse=True)[1] == np.unique(
        samples.images[[0, 1, 3, 6]], return_inverse=True
    )[1].reshape(-1, 1)
    for k in (1, 5):
        hits = [any(row[order[:k]]) for row, order in zip(own, np.argsort(-scores), strict=True)]
        assert retrieval[f"image_to_text_R@{k}"] == pytest.approx(np.mean(hits))
    found = classes["zero_shot"]
    assert (found["prompts"], found["pictures"], found["classes"]) == (2, 6, 3)
    assert found["first_classes"][0] == "number 0"


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ((), 2, "nothing to evaluate on"),
        (("--images", "FOLDER"), 2, "nothing to evaluate on"),
        (("--zero-shot", "FOLDER/data/test", "--images", "FOLDER"), 2, "--choices"),
        (("--zero-shot", "FOLDER/data/test", "--relevance", "x.json"), 2, "about retrieval"),
        (("--choices", "nowhere.json"), 2, "no such file"),
        (("--linear-probe", "FOLDER", "--classnames", "x"), 2, "about --zero-shot"),
        (("--zero-shot", "FOLDER/data/test", "--classnames", "x"), 2, "`classnames` x"),
        (("--choices", "FOLDER/data"), 2, "--choices is a .json"),
        (("--zero-shot", "nowhere"), 2, "no such folder"),
        (("--linear-probe", "FOLDER/data/train"), 2, "train/CLASS"),
        (
            ("--zero-shot", "FOLDER/data/test", "--prompts", "FOLDER/data/test/7/broken.jpg"),
            3,
            "one {} for the class",
        ),
        (("--zero-shot", "FOLDER/data/test/7"), 3, "not in folders of two classes"),
    ],
)
def test_wrong_input(folders, checkpoint, more, code, says):
    with pytest.raises(UserError) as error:
        main(flags(folders, checkpoint, *(word.replace("FOLDER", str(folders)) for word in more)))
    assert error.value.code == code and says in error.value.text()
