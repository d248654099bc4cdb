"""Translation in general: underscores, former names, files of flags."""

from hardpairs import compat
from tests.compat.parsing import training_args


def test_our_flags_with_underscores():
    typed = ["--max_steps", "3", "my_file", "--name=a_b", "--no_freeze_backbone", "--", "--a_b"]
    ours = ["--max-steps", "3", "my_file", "--name=a_b", "--no-freeze-backbone", "--", "--a_b"]
    assert compat.translate("report", typed) == (ours, [])


def test_a_line_of_ours_stays_as_it_is():
    line = ["--train-data", "x", "--loss-fn", "helip", "--lr=1e-3", "-v", "--unlabelled", "1", "2"]
    assert compat.translate("train", line) == (line, [])


def test_former_names_of_ours():
    typed = ["--csv-label-key", "label", "--csv_label_key=x", "--checkpoints", "*.pt"]
    ours = ["--csv-group-key", "label", "--csv-group-key=x", "--pretrained", "*.pt"]
    assert compat.translate("link", typed) == (ours, [])


def test_a_file_counts_as_given(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("preset: clippings-supcon\nloss_fn: contrastive\nlr: 3.0\n")
    argv, _ = compat.translate("train", ["--config", str(path), "--wd", "2"])
    assert "--metric-temperature" not in argv and "--lr" not in argv and "--embed" in argv
    assert argv[-4:] == ["--config", str(path), "--wd", "2"]
    assert training_args("--config", str(path)).lr == 3
