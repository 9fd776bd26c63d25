"""distillkit show and atlas: a store as a page to look at, a run as a table for Embedding Atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import Store, say


def show(
    path: Store,
    out: Annotated[
        Path | None, typer.Option(help="The page to write; by default the store's name in this folder.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Show images with the nearest texts of this store; else of one beside it.")
    ] = None,
    root: Annotated[str | None, typer.Option(help="Where the store's images lie by now, if they were moved.")] = None,
) -> None:
    """Write a store as a page: fields, norms, images with their nearest texts, what is double, failed or cut.

    Example: distillkit show stores/demo/images --out images.html
    """
    from distillkit.stores import show as write

    page = write(path, out=out, texts=texts, root=root)
    print(page)
    say(f"next: open {page} in a browser")


def atlas(
    run: Annotated[Path, typer.Argument(help="An evaluated run folder.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The file; by default atlas.parquet in the run folder.")] = None,
    most: Annotated[int, typer.Option(help="How many images at most.", min=1)] = 5000,
) -> None:
    """Write both maps of a run, its teacher's and its own, as a Parquet that Embedding Atlas opens.

    Example: distillkit atlas runs/dime_fm
    """
    from distillkit.compare import atlas as write

    made = write(run, say, out=out, most=most)
    print(made)
    say(
        "next: pip install embedding-atlas (in an environment of its own), then: embedding-atlas "
        f"{made} --disable-projection --x teacher_x --y teacher_y --text class"
    )
