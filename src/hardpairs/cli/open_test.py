"""Open the test data of a study of ``hardpairs compare recipes``, and write its table and page.

    hardpairs compare open-test study

Writes OUT/recipes.md, .json and .html, and OUT/test.json, which records when the data was opened.
Once it was opened, the study cannot choose other runs.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs compare open-test", description="Open the test data of a finished study."
    )
    parser.add_argument("study", type=Path, help="folder of hardpairs compare recipes")
    return parse_arguments(parser, "compare open-test", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    check_exists(args.study, "folder")
    from hardpairs.pages.template import render_template
    from hardpairs.recipes.page import study_page
    from hardpairs.recipes.study import open_study
    from hardpairs.recipes.table import markdown, read_rows
    from hardpairs.recipes.test_set import open_test

    study = open_study(args.study.absolute())
    test = open_test(study)
    rows = read_rows(study, test)
    record = {
        "opened": test["opened"],
        "plan": asdict(study.plan),
        "rows": [asdict(r) for r in rows],
    }
    write_json(args.study / "recipes.json", record)
    write_text(args.study / "recipes.md", markdown(rows))
    page = study_page(study, rows, test["opened"])
    write_text(args.study / "recipes.html", render_template("recipes.html.j2", page=page))
    print(markdown(rows), end="")
    print(f"page: {args.study / 'recipes.html'}", file=sys.stderr)
    return Exit.OK
