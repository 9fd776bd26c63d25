"""distillkit evaluate and compare: how good a student is, and whether it is better than another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from distillkit.cli.console import Overrides, say


class Format(StrEnum):
    """Files of other tools (evaluation/formats.py)."""

    clip_benchmark = "clip_benchmark"
    mteb = "mteb"
    eval_results = "eval_results"


def evaluate(
    runs: Annotated[list[Path] | None, typer.Argument(help="Finished run folders.", show_default=False)] = None,
    evals: Annotated[
        Path | None, typer.Option("--eval", help="A file of [[evals]], instead of those of the run's recipe.")
    ] = None,
    overrides: Overrides = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this eval; repeat for more.", show_default=False)
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="STORE", help="Measure the teacher of this store instead of runs."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the numbers of --teacher go.")] = Path("runs/teacher"),
    export: Annotated[
        list[Format] | None,
        typer.Option(help="Also write the numbers as files of this tool, below evaluation/."),
    ] = None,
    page: Annotated[
        bool,
        typer.Option(
            "--page",
            help="Write the report anew from what is kept; evals whose stores or files have changed are measured "
            "again.",
        ),
    ] = False,
) -> None:
    """Measure student, baseline and teacher; write a report.

    What was measured before is kept and not measured again.

    Example: distillkit evaluate runs/dime_fm
    """
    from distillkit.evaluate import evaluate_all, evaluate_teacher, write_as

    if teacher is not None:
        if runs or evals is None or page:
            raise typer.BadParameter("--teacher STORE goes with --eval FILE, and without runs, and without --page")
        found = evaluate_teacher(teacher, evals, out, say, overrides=overrides or [], names=only or [])
        print(found)
        for form in export or []:
            say(f"{form}: {write_as(found.parent, form)}")
        return
    if not runs:
        raise typer.BadParameter("name a run folder, or --teacher STORE")
    for report in evaluate_all(runs, say, evals=evals, overrides=overrides or [], names=only or [], page=page):
        print(report)
        for form in export or []:
            say(f"{form}: {write_as(report.parent, form)}")
    say(f"next: open {report} in a browser")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Evaluated run folders, the baseline first.", show_default=False)],
    baseline: Annotated[
        Path | None, typer.Option(help="The run that the others are compared with. Default: the first.")
    ] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="Put the teacher into the table, too.")] = False,
    table: Annotated[
        Literal["csv", "latex", "md"] | None, typer.Option(help="Print a table and write no files.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each number of each recipe and write no files.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for compare.html. Default: that of the last run.")] = None,
    dots: Annotated[int, typer.Option(help="At most this many images in the page's maps; 0: no maps.", min=0)] = 2000,
) -> None:
    """Say which run is better, and how sure that is.

    Writes a page with the differences and their intervals. Runs that differ only in their seed count as one.

    Example: distillkit compare runs/dime_fm/baseline runs/dime_fm
    """
    from distillkit.compare import compare as write
    from distillkit.compare import comparison

    if table is not None and as_json:
        raise typer.BadParameter("--table and --json print the same numbers; choose one")
    if table is not None or as_json:
        from distillkit.report import comparison_table

        found = comparison(runs, baseline=baseline, teacher=teacher)
        print(comparison_table.FORMATS[table](found) if table else comparison_table.as_json(found), end="")
        for note in found.notes:
            say(note)
        return
    page = write(runs, say, baseline=baseline, teacher=teacher, out=out, dots=dots)
    print(page)
    say(f"next: open {page} in a browser")
