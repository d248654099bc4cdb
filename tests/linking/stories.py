"""Embeddings of stories, and the flags that link them."""

import csv

import numpy as np

from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.opening import open_samples
from hardpairs.linking.cuts import split_by_label
from hardpairs.linking.rows import row_labels
from tests.helpers import picture


def flags(folder, *more):
    table = (
        "--csv-img-key",
        "image_path",
        "--csv-caption-key",
        "text",
        "--csv-label-key",
        "label",
        "--unlabelled",
        "999",
    )
    return [
        "--embeddings",
        f"{folder}/emb",
        "--data",
        f"{folder}/news.csv",
        *table,
        "--out",
        f"{folder}/out",
        *more,
    ]


def write_opposed(folder, image_of_others):
    """(label of each row, whether to choose by it): ten stories of two rows, and embeddings in which the four to choose by want other settings than the
    other six.

    Pictures of a story to choose by are 60 degrees apart, those of the others as ``image_of_others`` has them: (count, 80) rows of stories a a b b and so
    on. Texts are equal in the other six stories, and between different stories of the four.
    """
    story = np.repeat(np.arange(10), 2)
    with open(folder / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [
                ["image_path", "text", "label"],
                *([f"{row}.jpg", f"text {row}", f"s{label}"] for row, label in enumerate(story)),
            ]
        )
    samples = open_samples(
        folder / "news.csv", image_key="image_path", caption_key="text", group_key="label"
    )
    labels = row_labels(samples, np.arange(20))
    chosen_by = split_by_label(labels, 0.4, 42)[0] >= 0
    image = np.eye(80, dtype=np.float32)[40 + 2 * story]
    second = np.flatnonzero(chosen_by)[1::2]
    image[second] = (
        0.5 * image[second] + 0.75**0.5 * np.eye(80, dtype=np.float32)[41 + 2 * story[second]]
    )
    image[~chosen_by] = image_of_others(12)
    text = np.eye(80, dtype=np.float32)[40 + 2 * story]
    text[chosen_by] = crossed(8)
    write_embeddings(
        folder / "emb",
        image=image,
        text=text,
        rows=np.arange(20),
        captions=list(samples.captions),
        keys=list(samples.keys),
        groups=samples.groups,
        manifest={
            "dataset_fingerprint": samples.fingerprint,
            "num_samples": 20,
            "weights": "sha256:0",
        },
    )
    return labels, chosen_by


def crossed(count):
    """Rows of stories a a b b: each row of a is equal to one of b."""
    return np.eye(80, dtype=np.float32)[[row // 4 * 2 + row % 2 for row in range(count)]]


def fanned(count):
    """Rows of stories a a b b, in a plane at 0, 20, 45 and 65 degrees."""
    angles = np.radians(np.array([0, 20, 45, 65])[np.arange(count) % 4])
    plane = (
        np.eye(80, dtype=np.float32)[np.arange(count) // 4 * 2],
        np.eye(80, dtype=np.float32)[np.arange(count) // 4 * 2 + 1],
    )
    return np.cos(angles)[:, None] * plane[0] + np.sin(angles)[:, None] * plane[1]


def write_news(tmp_path):
    """(folder of embeddings, CSV): 30 stories of three rows, the text noisier than the picture; two rows without a label, one with 999."""
    rng = np.random.default_rng(0)
    story = np.repeat(np.arange(30), 3)
    with open(tmp_path / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "text", "label"])
        for i, label in enumerate(story):
            (tmp_path / f"{i}.jpg").write_bytes(picture(i))
            writer.writerow(
                [
                    tmp_path / f"{i}.jpg",
                    f"<b>story</b> {i}",
                    {0: "", 4: "", 7: "999"}.get(i, f"s{label}"),
                ]
            )
    centres = rng.normal(size=(30, 32))
    image, text = (centres[story] + noise * rng.normal(size=(90, 32)) for noise in (0.3, 1.5))
    samples = open_samples(tmp_path / "news.csv", image_key="image_path", caption_key="text")
    write_embeddings(
        tmp_path / "emb",
        image=image.astype(np.float32),
        text=text.astype(np.float32),
        rows=np.arange(90),
        captions=list(samples.captions),
        keys=list(samples.keys),
        groups=samples.groups,
        manifest={"dataset_fingerprint": samples.fingerprint, "num_samples": 90},
    )
    return tmp_path, story
