"""What is wrong with a command line is said before anything heavy is imported."""

import json
import subprocess
import sys

import pytest

from tests.cli.test_console import ENVIRONMENT, HEAVY

REFUSE = """
import contextlib, io, json, sys
from hardpairs.cli.console import run
from hardpairs.core.errors import UserError
for words in json.load(sys.stdin):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            code = run(words)
    except SystemExit as stop:
        code, text = stop.code, said.getvalue()
    except UserError as error:
        code, text = int(error.code), error.text()
    print(json.dumps([code, text, sorted(sys.modules)]))
"""
MODEL = "--model ViT-B-32"
LINES = [
    (f"embed --csv NONE.csv {MODEL} --out o", 2, "NONE.csv"),
    (f"embed --csv WRONG.csv {MODEL} --out o", 3, "no column 'filepath'"),
    (f"embed --shards NONE {MODEL} --out o", 2, "NONE"),
    (f"embed --csv RIGHT.csv {MODEL} --pretrained NONE.pt --out o", 2, "no such checkpoint"),
    (f"evaluate --choices NONE {MODEL} --out o", 2, "no such file or folder"),
    (f"evaluate --choices WRONG.csv {MODEL} --out o", 2, "--choices is a .json"),
    (f"export model {MODEL} --pretrained NONE.pt --out o", 2, "no such checkpoint"),
    ("mine --dataset x --save-path o --embeddings NONE", 2, "no such folder"),
    ("mine --dataset x --save-path o --image-embeddings NONE --text-embeddings NONE", 2, "NONE"),
    ("mine --dataset nothing --save-path o", 2, "no data set has the name 'nothing'"),
    ("train --csv-lable-key x", 2, "there is no flag --csv-lable-key"),
    ("train --preset nothing", 2, "no preset 'nothing'"),
    ("train --config NONE.yaml", 2, "NONE.yaml"),
    ("train --train-data NONE.csv", 2, "NONE.csv"),
    ("train --train-data WRONG.csv --csv-separator , --use-hard", 3, "no column 'filepath'"),
    ("train --train-data RIGHT.csv --csv-separator , --use-hard --hard-dict-dir NONE", 2, "NONE"),
    ("train --train-data RIGHT.csv --csv-separator , --sanw-alpha .3", 2, "nothing uses it"),
    ("train --train-data RIGHT.csv --pretrained NONE.pt", 2, "no such checkpoint"),
    ("train --captions-json NONE.json", 2, "NONE.json"),
    (f"evaluate {MODEL} --data NONE.csv --out o", 2, "NONE.csv"),
    (f"evaluate {MODEL} --data WRONG.csv --out o", 3, "no column 'filepath'"),
    (f"evaluate {MODEL} --pretrained NONE.pt --data RIGHT.csv --out o", 2, "no such checkpoint"),
    (f"evaluate {MODEL} --zero-shot NONE --out o", 2, "no such folder"),
    (f"evaluate {MODEL} --linear-probe NONE --out o", 2, "no such folder"),
    (f"evaluate {MODEL} --data RIGHT.csv --hard-pairs NONE --out o", 2, "no hard pairs"),
    (f"merge tag NONE.pt {MODEL} --val-data RIGHT.csv --out o.pt", 2, "no such checkpoint"),
    (f"merge tag tag {MODEL} --val-data NONE.csv --out o.pt", 2, "NONE.csv"),
    (f"merge tag tag {MODEL} --val-data RIGHT.csv --alpha 2 --out o.pt", 2, "[0, 1], not 2"),
    ("report NONE --out o.html", 2, "no such folder"),
    ("photos index NONE", 2, "no such folder"),
    ("photos index NONE --out i", 2, "NONE"),
    ("photos query NONE text", 2, "no such index"),
    ("photos serve NONE", 2, "no such index"),
    (f"photos demo {MODEL} --pretrained NONE.pt", 2, "no such checkpoint"),
    ("link --data NONE.csv --embeddings . --out o", 2, "NONE.csv"),
    ("link --data RIGHT.csv --embeddings NONE --out o", 2, "no such folder"),
    (f"link --data RIGHT.csv {MODEL} --pretrained NONE.pt --out o", 2, "no such checkpoint"),
    (f"retrieve --query NONE --gallery . {MODEL} --out o", 2, "NONE"),
    (f"compare NONE {MODEL} --pretrained x --out o", 2, "NONE"),
    ("compare-runs NONE", 2, "no such folder"),
    ("plot NONE --out o", 2, "no such folder"),
    ("inspect pairs NONE", 2, "NONE"),
    ("inspect batches --out x.html --train-data NONE --use-hard", 2, "NONE"),
    ("inspect batches --out x.html --nothing", 2, "there is no flag --nothing"),
    ("calibrate NONE", 2, "no such folder"),
    ("export NONE --to parquet --out x", 2, "NONE"),
    ("jaccard --data NONE --out o", 2, "NONE"),
    ("split --data NONE --out o", 2, "NONE"),
    ("list-shards --shards NONE --out x.csv", 2, "NONE"),
    ("format-news NONE.json --out o", 2, "NONE.json"),
    ("import-miniclip NONE.pth --captions-json NONE --out x.pt", 2, "no such checkpoint"),
    ("patch --target NONE", 3, "NONE"),
    ("quickstart --nothing", 2, "there is no flag --nothing"),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """Exit code, message and imported modules of each line; one process runs them in turn."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "WRONG.csv").write_text("a,b\n1,2\n")
    (folder / "RIGHT.csv").write_text("filepath,title\n" + "x.jpg,a thing\n" * 80)
    ran = subprocess.run(
        [sys.executable, "-c", REFUSE],
        input=json.dumps([line.split() for line, _, _ in LINES]),
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(answer) for answer in ran.stdout.splitlines()]


@pytest.mark.parametrize("number", range(len(LINES)), ids=[line for line, _, _ in LINES])
def test_a_refusal_comes_before_heavy_imports(refusals, number):
    _, code, says = LINES[number]
    assert refusals[number][0] == code and says in refusals[number][1]
    assert not HEAVY & set(refusals[number][2])
