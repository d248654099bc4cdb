"""Training data is opened once, by the columns and rejects that are named."""

from hardpairs.training.samples import SampleOptions, open_once, open_training_samples
from tests.helpers import picture, write_tar

VALUES = {
    "csv_separator": ",",
    "csv_img_key": "filepath",
    "csv_caption_key": "title",
    "csv_group_key": "group",
    "unlabelled": (),
    "image_root": None,
    "caption_template": None,
    "reject": None,
}


def test_the_same_arguments_give_the_same_object(table):
    values = {**VALUES, "train_data": str(table)}
    samples = open_training_samples(values)
    assert open_training_samples(values) is samples and len(samples) == 40
    assert open_once(str(table), SampleOptions.from_values(values)) is samples


def test_rejects_are_of_one_run_alone(table, tmp_path):
    (tmp_path / "rows.txt").write_text("3\n5\n")
    values = {**VALUES, "train_data": str(table)}
    rejected = open_training_samples({**values, "reject": str(tmp_path / "rows.txt")}).rejected
    assert sorted(rejected) == [3, 5]
    assert not open_training_samples(values).rejected


def test_a_loss_that_compares_images_alone_needs_no_caption(tmp_path):
    members = {f"s{i}": {"cls": str(i % 2).encode(), "jpg": picture(i)} for i in range(4)}
    values = {**VALUES, "train_data": str(write_tar(tmp_path / "0.tar", members))}
    for embed, rejected in (("image", 0), ("pooled", 4)):
        samples = open_training_samples({**values, "loss_fn": "supcon", "embed": embed})
        assert len(samples.rejected) == rejected and samples.labelled.all()
    assert len(open_training_samples({**values, "loss_fn": "clip_ce"}).rejected) == 4
