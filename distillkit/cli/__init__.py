"""Commands: parse, call one function, print. Results go to stdout, progress to stderr; nothing heavy is imported."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from distillkit.cli.bench import bench_model
from distillkit.cli.claims import claims
from distillkit.cli.console import say
from distillkit.cli.data import data
from distillkit.cli.embed import embed, search
from distillkit.cli.ending import in_one_line, keep_standard_streams, outlive_the_terminal, speak_any_text
from distillkit.cli.evaluate import compare, evaluate
from distillkit.cli.export import export, push
from distillkit.cli.extract import extract_teacher
from distillkit.cli.mine import mine_neighbours, select_texts
from distillkit.cli.recipe import recipes
from distillkit.cli.show import atlas, show
from distillkit.cli.store import store
from distillkit.cli.suggest import suggest_scale
from distillkit.cli.train import train_student
from distillkit.system.addresses import refuse_secrets_within
from distillkit.system.stopping import on_signal
from distillkit.system.waiting import wait_briefly

app = typer.Typer(
    help="Run a frozen teacher once, keep its features in stores, and train small students from the stores.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(extract_teacher)
app.command()(mine_neighbours)
app.command()(select_texts)
app.command()(train_student)
app.command()(evaluate)
app.command()(compare)
app.command()(show)
app.command()(atlas)
app.command()(embed)
app.command()(search)
app.command()(export)
app.command()(push)
app.command()(bench_model)
app.command()(suggest_scale)
app.command()(claims)
app.add_typer(data, name="data")
app.add_typer(recipes, name="recipe")
app.add_typer(store, name="store")


def _version(wanted: bool) -> None:
    if wanted:
        from distillkit import __version__

        print(f"distillkit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Run a frozen teacher once, keep its features in stores, and train small students from the stores."""


def main() -> None:
    """The console script: what its user can mend is one line and exit code 1; a traceback is our bug."""
    keep_standard_streams()
    outlive_the_terminal()
    wait_briefly()
    speak_any_text()
    with on_signal(say), in_one_line():
        refuse_secrets_within(sys.argv[1:], "command line")  # records keep it, and refusals repeat it
        app()
