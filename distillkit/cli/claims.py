"""distillkit claims: what papers claim, trained, measured and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from distillkit.cli.console import command, say


def claims(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files of claims; with --write also results, or folders of either.", show_default=False),
    ],
    plan: Annotated[
        bool, typer.Option("--plan", help="Train nothing; print what there is to train and how long it takes.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A short version, in minutes; its numbers are not the result.")
    ] = False,
    scale: Annotated[
        Literal["demo", "paper"], typer.Option(help="paper: the plan at the paper's size, and what is missing for it.")
    ] = "demo",
    nodes: Annotated[
        int, typer.Option(min=1, max=10_000, help="With --scale paper: machines that share the work.")
    ] = 1,
    write: Annotated[Path | None, typer.Option(help="Train nothing; write the page of results to this file.")] = None,
    headline: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --write: also renew the marked parts of this page, such as README.md; repeat for more."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train arms anew whose recipe has changed; the old runs are kept.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Where the runs lie.")] = Path("runs/claims"),
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("benchmarks/results/claims"),
) -> None:
    """Test the claims of a paper.

    Trains every arm with every seed, measures them, and says which claims hold. Finished arms are not trained again.
    Any number of these commands may run side by side.

    Example: distillkit claims pipelines/claims/dimefm.toml --plan
    """
    from distillkit.claims import jobs

    if write is not None:
        for path in jobs.write(files, write, headline or ()):
            print(path)
        return
    for file in files:
        if scale == "paper":
            from distillkit.claims.paper import paper

            there = paper(file, print, nodes=nodes, start=not plan)
            if not there:
                say("nothing was started: first bring what is missing")
        elif plan:
            for line in jobs.planned(file, runs, quick=quick):
                print(line)
        else:
            print(jobs.claims(file, runs, out, say, command(), quick=quick, overwrite=overwrite))
