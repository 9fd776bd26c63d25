"""Commands: parse, call one function, print. Results go to stdout, progress to stderr; nothing heavy is imported."""

from __future__ import annotations

import signal
import sys

import typer

from distillkit.cli.console import say
from distillkit.cli.data import data
from distillkit.cli.extract import extract_teacher
from distillkit.cli.mine import mine_neighbours, select_texts
from distillkit.cli.recipe import recipes
from distillkit.cli.store import store
from distillkit.cli.train import evaluate, train_student
from distillkit.errors import DistillkitError
from distillkit.system.waiting import wait_briefly

app = typer.Typer(
    help="Run a frozen teacher once, keep what it said, and train small students from it.",
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
app.add_typer(data, name="data")
app.add_typer(recipes, name="recipe")
app.add_typer(store, name="store")


def _stop(signal_number: int, frame: object) -> None:
    """Ctrl-C, once: leave in order, with 130. A second one ends the process at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    say("stopped; everything committed is kept, the same command continues")
    sys.exit(130)


def main() -> None:
    """The console script: a DistillkitError is one line and exit code 1; a traceback is our bug."""
    wait_briefly()
    before = signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except DistillkitError as error:
        say(f"error: {error}")
        sys.exit(1)
    finally:
        signal.signal(signal.SIGINT, before)
