"""Translation in general: underscores, presets, help."""

import subprocess
import sys

import pytest

from hardpairs import compat
from hardpairs.cli.command_line import command_arguments
from hardpairs.core.errors import UserError
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


@pytest.mark.parametrize(
    ("line", "absent", "present"),
    [
        ("--preset clippings-supcon --loss-fn contrastive", "--metric-temperature", "--im-wt"),
        ("--preset clippings-supcon --loss-fn clip_ce", "--embed", "--batching"),
        ("--preset clippings-supcon --embed mlp", "--im-wt", "--metric-temperature"),
        ("--preset clippings-supcon --batching random", "--m-per-class", "--im-wt"),
        ("--preset clippings-supcon --batching class-neighbours", None, "--m-per-class"),
        ("--preset clippings-supcon --use-hard", "--batching", "--loss-fn"),
        ("--preset clippings-supcon --warmup-epochs 1", "--warmup", "--lr"),
        ("--preset miniclip-lstm --warmup 3", "--warmup-epochs", "--lr"),
        ("--preset lc-triplet --projection 0", "--head-dropout", "--freeze-backbone"),
        ("--preset lc-triplet --no-freeze-backbone", "--freeze-backbone", "--projection"),
        ("--preset lc-arcface --loss-fn triplet", "--metric-scale", "--metric-margin"),
    ],
)
def test_what_a_preset_leaves_out(line, absent, present):
    argv = compat.translate("train", line.split())[0]
    assert absent not in argv[: argv.index("--preset")]
    assert present in argv[: argv.index("--preset")]


@pytest.mark.parametrize("name", compat.PRESETS)
def test_every_preset(name):
    """Alone, it is given as it stands in its table."""
    argv, _ = compat.translate("train", ["--preset", name])
    assert argv == [*compat.PRESETS[name], "--preset", name]
    assert training_args("--preset", name).preset == name


def test_an_unknown_preset():
    with pytest.raises(UserError, match="there is no preset 'x'"):
        compat.translate("train", ["--preset", "x"])


def test_a_file_counts_as_given(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("preset: clippings-supcon\nloss_fn: contrastive\nlr: 3.0\n")
    argv, _ = compat.translate("train", ["--config", str(path), "--wd", "2"])
    assert "--metric-temperature" not in argv and "--lr" not in argv and "--embed" in argv
    assert argv[-4:] == ["--config", str(path), "--wd", "2"]
    assert training_args("--config", str(path)).lr == 3


@pytest.mark.parametrize("name", compat.SYSTEMS)
def test_help_of_a_system(name, capsys):
    with pytest.raises(SystemExit) as stop:
        command_arguments("train", ["--help-compat", name])
    text = capsys.readouterr().out
    system = compat.SYSTEMS[name]
    assert stop.value.code == 0 and system.title in text
    for flag in (*system.spellings.get("train", ()), *system.presets):
        assert flag in text


def test_help_of_all_systems(capsys):
    with pytest.raises(SystemExit):
        command_arguments("link", ["--help-compat"])
    assert "--specified_thresh" in capsys.readouterr().out
    with pytest.raises(UserError, match="knows no system 'x'"):
        command_arguments("link", ["--help-compat", "x"])


def test_one_process_of_several_speaks(monkeypatch, capsys):
    for rank, said in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        command_arguments("train", ["--results_dir", "r"])
        assert bool(capsys.readouterr().err) == said


def test_translation_needs_no_torch():
    code = "import sys, hardpairs.cli.command_line; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
