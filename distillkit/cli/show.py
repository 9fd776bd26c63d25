"""distillkit show and atlas: a store as a page to look at, a run as a table for Embedding Atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import Store, say


def show(
    path: Store,
    out: Annotated[
        Path | None, typer.Option(help="The page to write. Default: the store's name, in this folder.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Show images with the nearest texts of this store. Default: a store beside it.")
    ] = None,
    root: Annotated[str | None, typer.Option(help="Where the store's images are now, if they were moved.")] = None,
) -> None:
    """Write a page about a store.

    It shows fields, norms, images with their nearest texts, duplicates, and what failed or was cut.

    Example: distillkit show stores/demo/images --out images.html
    """
    from distillkit.stores import show as write

    page = write(path, out=out, texts=texts, root=root)
    print(page)
    say(f"next: open {page} in a browser")


def atlas(
    run: Annotated[Path, typer.Argument(help="An evaluated run folder.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The file. Default: atlas.parquet in the run folder.")] = None,
    most: Annotated[int, typer.Option(help="At most this many images.", min=1)] = 5000,
) -> None:
    """Write the maps of a run for Embedding Atlas.

    One Parquet file has the map of the teacher and that of the student.

    Example: distillkit atlas runs/dime_fm
    """
    from distillkit.compare import atlas as write

    made = write(run, say, out=out, most=most)
    print(made)
    say(
        "next: pip install embedding-atlas (in an environment of its own), then: embedding-atlas "
        f"{made} --disable-projection --x teacher_x --y teacher_y --text class"
    )
