"""Commands: parse, call one function, print. Results go to stdout, progress to stderr; nothing heavy is imported."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from distillkit.errors import DistillkitError

app = typer.Typer(
    help="Run a frozen teacher once, keep what it said, and train small students from it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Prepare corpora.", no_args_is_help=True)
recipes = typer.Typer(help="Look at and check recipes.", no_args_is_help=True)
store = typer.Typer(help="Look at, check and question feature stores.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(recipes, name="recipe")
app.add_typer(store, name="store")

Recipe = Annotated[Path, typer.Argument(help="A recipe in TOML.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a value: --set optim.lr=3e-4 (TOML).")]


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def command() -> str:
    """This command line, as stores and run folders record it."""
    return shlex.join(["distillkit", *sys.argv[1:]])


@data.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(help="The corpus to prepare; there is one: demo.")],
    quick: Annotated[bool, typer.Option("--quick", help="A smaller version, for a first look.")] = False,
) -> None:
    """Make a corpus ready in the cache folder ($DISTILLKIT_CACHE).

    Example: distillkit data prepare demo
    """
    if name != "demo":
        raise typer.BadParameter(f"{name!r} cannot be prepared; there is one: demo")
    from distillkit.demo.prepare import prepare

    folder = prepare(quick=quick, say=say)
    print(folder)
    suffix = "_quick" if quick else ""
    say(f"next: distillkit extract-teacher pipelines/extract/demo{suffix}.toml")


@app.command("extract-teacher")
def extract_teacher(recipe: Recipe, overrides: Overrides = None) -> None:
    """Stage 1: run the teacher once over every corpus of RECIPE and keep what it said. Rerunning continues.

    Example: distillkit extract-teacher pipelines/extract/demo.toml
    """
    from distillkit import extract
    from distillkit.recipe import ExtractRecipe, load

    loaded = load(recipe, overrides, kind=ExtractRecipe)
    for path in extract.extract(loaded, say, command()):
        print(path)
    say(f"next: {loaded.next or 'distillkit train-student RECIPE  (data.images names one of the stores above)'}")


@app.command("train-student")
def train_student(recipe: Recipe, overrides: Overrides = None) -> None:
    """Stage 2: train the student of RECIPE, and its baseline, from the stores. Rerunning continues.

    Example: distillkit train-student pipelines/demo/dime_fm.toml
    """
    from distillkit import train
    from distillkit.recipe import TrainRecipe, load

    folder = train.train(load(recipe, overrides, kind=TrainRecipe), say, command())
    print(folder)
    say(f"next: distillkit evaluate {folder}")


@app.command()
def evaluate(run: Annotated[Path, typer.Argument(help="A finished run folder.", show_default=False)]) -> None:
    """Measure student, baseline and teacher as the run's recipe says, and write the report.

    Example: distillkit evaluate runs/dime_fm
    """
    from distillkit.evaluate import evaluate as measure

    report = measure(run, say)
    print(report)
    say(f"next: open {report} in a browser")


@recipes.command("check")
def recipe_check(recipe: Recipe, overrides: Overrides = None) -> None:
    """Check a training recipe without data, weights or GPU, and print what it will take.

    Example: distillkit recipe check pipelines/clip_kd.toml
    """
    from distillkit.check import check
    from distillkit.recipe import TrainRecipe, load

    for line in check(load(recipe, overrides, kind=TrainRecipe)):
        print(line)


@recipes.command("list")
def recipe_list(
    folder: Annotated[Path, typer.Argument(help="Where to look for training recipes.")] = Path("pipelines"),
) -> None:
    """List training recipes: file, student, loss terms, paper.

    Example: distillkit recipe list pipelines
    """
    from distillkit.check import overview

    rows = overview(folder)
    if not rows:
        raise DistillkitError(f"{folder}: no training recipes (*.toml) here")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@store.command("info")
def store_info(path: Annotated[Path, typer.Argument(help="A feature store.", show_default=False)]) -> None:
    """Print what a store holds and who made it.

    Example: distillkit store info stores/demo/images
    """
    from distillkit.store.manifest import Manifest

    manifest = Manifest.read(path)
    print(f"{path}: {manifest.rows} rows in {len(manifest.shards)} shards, {manifest.skipped} failed")
    print(f"digest   {manifest.digest}")
    print(f"source   {manifest.source['kind']} {manifest.source['knobs']}")
    for name, field in manifest.fields.items():
        print(f"field    {name}  {field.dtype} {field.shape}")
    for alias, teacher in manifest.teachers.items():
        print(f"teacher  {alias}: {teacher['model']}, sha256 {teacher['weights_sha256'][:16]}, {teacher['precision']}")


@store.command("verify")
def store_verify(path: Annotated[Path, typer.Argument(help="A feature store.", show_default=False)]) -> None:
    """Check every file of a store against its checksum; exit code 1 when one differs.

    Example: distillkit store verify stores/demo/images
    """
    from distillkit.store.verify import verify

    problems = verify(path)
    for problem in problems:
        print(problem)
    if problems:
        say(f"damaged: {len(problems)}; delete these files and extract again: only their shards are done anew")
        raise typer.Exit(1)
    print(f"{path}: every checksum agrees")


@store.command("failures")
def store_failures(path: Annotated[Path, typer.Argument(help="A feature store.", show_default=False)]) -> None:
    """Print the failure ledger: key, stage and error of each sample without features.

    Example: distillkit store failures stores/demo/images
    """
    from distillkit.store.reader import FeatureStore

    for failure in FeatureStore(path).failures():
        print(f"{failure['key']}\t{failure['stage']}\t{failure['error']}")


def _stop(signal_number: int, frame: object) -> None:
    """Ctrl-C, once: leave in order, with 130. A second one ends the process at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    say("stopped; everything committed is kept, the same command continues")
    sys.exit(130)


def main() -> None:
    """The console script: a DistillkitError is one line and exit code 1; a traceback is our bug."""
    # Threads that spin while they wait take the core that another process could use: a small student beside other work
    # trained eight times slower. Read when torch loads its OpenMP, hence set here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    before = signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except DistillkitError as error:
        say(f"error: {error}")
        sys.exit(1)
    finally:
        signal.signal(signal.SIGINT, before)
