"""distillkit data: look for corpora, and prepare the embedded one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import Json, say
from distillkit.system.wording import count

data = typer.Typer(help="Look up and check known corpora; prepare the demo.", no_args_is_help=True)


@data.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(help="The corpus to prepare; there is one: demo.")],
    quick: Annotated[bool, typer.Option("--quick", help="A smaller version, for a first look.")] = False,
    narrow: Annotated[
        bool,
        typer.Option("--narrow", help="Also make a teacher that has seen only the first of the two drawing styles."),
    ] = False,
) -> None:
    """Prepare a corpus in the cache folder ($DISTILLKIT_CACHE).

    Example: distillkit data prepare demo
    """
    if name != "demo":
        raise typer.BadParameter(f"{name!r} cannot be prepared; there is one: demo")
    from distillkit.demo.prepare import prepare

    folder = prepare(quick=quick, say=say, narrow=narrow)
    print(folder)
    suffix = "_quick" if quick else ""
    say(f"next: distillkit extract-teacher pipelines/extract/demo{suffix}.toml")


@data.command("list")
def data_list(as_json: Json = False) -> None:
    """List the corpora of the papers.

    Example: distillkit data list  (and then: distillkit data check cc3m --root /data/cc3m)
    """
    from distillkit.corpora.check import overview

    rows = overview()
    if as_json:
        for name, title in rows:
            print(json.dumps({"corpus": name, "title": title}))
        return
    width = max(len(name) for name, _ in rows)
    for name, title in rows:
        print(f"{name.ljust(width)}  {title}")
    say("next: distillkit data check NAME --root FOLDER")


@data.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="A corpus of `distillkit data list`.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Print what is known of a corpus.

    Origin, licence, counts, prompts, metric and layout, each with its source.

    Example: distillkit data show food101
    """
    from distillkit.corpora.check import known, show

    print(json.dumps({"corpus": name} | known(name)) if as_json else "\n".join(show(name)))


@data.command("split")
def data_split(
    root: Annotated[Path, typer.Argument(help="A folder with a folder of images for each class.", show_default=False)],
    classes: Annotated[float, typer.Option(help="The share of classes to train on.")] = 0.5,
    train: Annotated[float, typer.Option(help="The share of their images to train on.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Another seed draws another split.")] = 0,
    lists: Annotated[
        Path | None,
        typer.Option(help="Draw nothing; a folder with train_data.txt, val_on_train_data.txt, val_data.txt."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another split.")] = False,
) -> None:
    """Split a corpus into seen and unseen classes.

    Writes into ROOT: train, val_on_train (new images of seen classes) and val (unseen classes).

    Example: distillkit data split data/food101/images --seed 0
    """
    from distillkit.corpora.split import split

    named = None if lists is None else str(lists)
    counts = split(str(root), classes=classes, train=train, seed=seed, lists=named, overwrite=overwrite)
    for side, images in counts.items():
        print(f"{root / side}.tsv")
        say(f"{side}: {count(images, 'image')}")
    say("next: distillkit extract-teacher pipelines/evals/ood_extract.toml")


@data.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="A corpus of `distillkit data list`.", show_default=False)],
    root: Annotated[str | None, typer.Option(help="Where it should be, a folder or URL. Default: data/NAME.")] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Count the samples and compare checksums.")] = False,
    as_json: Json = False,
) -> None:
    """Print what of a corpus is there and what is missing.

    Also where it comes from, and how a recipe reads it. Exit code 1 when something is missing.

    Example: distillkit data check demo
    """
    from distillkit.corpora.check import check

    good = True
    for line, fine in check(name, root, thorough):
        print(json.dumps({"line": line.strip(), "fine": fine}) if as_json else line)
        good &= fine
    if not good:
        raise typer.Exit(1)
