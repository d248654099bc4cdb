"""tools.evaluate on folders of classes; retrieval is tested where it is used (tests/test_quickstart.py, tests/evaluation)."""

import json

import numpy as np
import open_clip
import pytest
import torch

from hardpairs.cli.evaluate import main
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.samples import open_samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.retrieval import evaluate
from hardpairs.models.load import load_encoder
from tests.helpers import picture


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


def test_a_caption_is_one_item_of_its_groups_gallery_however_many_images_have_it(tmp_path):
    """Two pictures of each of four things, one caption each thing: four texts, and a wrong one counts once."""
    lines = [f"{tmp_path}/{i}.jpg,thing {i // 2},{i // 2}" for i in range(8)]
    (tmp_path / "pairs.csv").write_text("\n".join(["filepath,title,group", *lines]) + "\n")
    samples = open_samples(tmp_path / "pairs.csv")
    assert samples.positives.shape == (8, 3)  # images are told apart from groups here
    text = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    image = text[[2, 3, 0, 1, 4, 5, 6, 7]]  # things 0 and 1 are taken for each other
    metrics, arrays = evaluate(samples, Embedded(image, text, np.arange(8), {}), None)
    assert metrics["texts"] == 4 and len(arrays["text_rows"]) == 4
    assert sorted(arrays["image_to_text_ranks"].tolist()) == [
        1,
        1,
        1,
        1,
        4,
        4,
        4,
        4,
    ]  # among four texts: the wrong one, and ties against the model


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
        from hardpairs.data.images import decode

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


def test_a_linear_probe_on_frozen_features(folders, checkpoint, capsys):
    assert main(flags(folders, checkpoint, "--linear-probe", f"{folders}/data")) == 0
    found = json.loads(capsys.readouterr().out)["linear_probe"]
    assert found["top-1"] == 1 and found["classes"] == 3 and found["pictures"] == 6


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ((), 2, "nothing to evaluate on"),
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
