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
    plan: Annotated[bool, typer.Option("--plan", help="Say what there is to train and how long it takes.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A look in minutes, which is not the result.")] = False,
    scale: Annotated[
        Literal["demo", "paper"], typer.Option(help="paper: the plan at the paper's size, and what lacks for it.")
    ] = "demo",
    nodes: Annotated[
        int, typer.Option(min=1, max=10_000, help="With --scale paper: machines that share the work.")
    ] = 1,
    write: Annotated[Path | None, typer.Option(help="Make the page of results, and train nothing.")] = None,
    headline: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --write: a page whose parts between the marks are made anew, as README.md; repeatable."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train arms anew whose recipe has changed; old runs are kept beside.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Where the runs lie.")] = Path("runs/claims"),
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("benchmarks/results/claims"),
) -> None:
    """Train every arm of a paper's claims with every seed, measure them, and say which claims hold.

    What is there is not done again, and any number of these may run side by side.

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
