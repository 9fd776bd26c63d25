"""distillkit embed and search: a student at work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import Json, say
from distillkit.system.wording import count

_Who = Annotated[
    str,
    typer.Argument(help="A finished run or its best/; or a store, for its teacher.", show_default=False),
]
_BatchSize = Annotated[int, typer.Option(help="Pictures, or texts, in a batch.", min=1)]
_Threads = Annotated[int | None, typer.Option(help="Threads that decode pictures. Default: one a core.", min=1)]
_Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the GPU where there is one.")]


def embed(
    who: _Who,
    images: Annotated[
        str | None,
        typer.Argument(help="A folder, a picture, a .txt with a path a line, or - for such lines.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="A file NAME.npy or NAME.parquet; without an ending, a store.", show_default=False)
    ] = ...,  # type: ignore[assignment]
    texts: Annotated[Path | None, typer.Option(help="A file with a text a line.", show_default=False)] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Vectors of length 1.")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Pictures, or texts, in a batch. Default: 128; in a store 256.", min=1)
    ] = None,
    threads: _Threads = None,
    device: _Device = "auto",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="In a finished store, try failed pictures again.")
    ] = False,
    retry_changed: Annotated[
        bool,
        typer.Option("--retry-changed", help="In a finished store, embed pictures again whose files have changed."),
    ] = False,
    append: Annotated[bool, typer.Option("--append", help="Add new pictures, or texts, to a finished store.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a store of other pictures or vectors; the old one is kept.")
    ] = False,
) -> None:
    """Embed the pictures of a folder, or lines of text.

    Example: distillkit embed runs/mine photos --texts sentences.txt --out vectors.parquet
    """
    from distillkit.embed import embed as write

    made = write(
        who,
        images,
        out=out,
        texts=texts,
        normalise=normalise,
        batch_size=batch_size,
        threads=threads,
        device=device,
        retry_failed=retry_failed,
        retry_changed=retry_changed,
        append=append,
        overwrite=overwrite,
        say=say,
    )
    for place, rows, what in ((made.images, made.rows, "picture"), (made.texts, made.text_rows, "text")):
        if place is not None:
            print(place)
            say(f"{place}: {count(rows, what)}")
    _tell_broken(made.broken)
    if made.told:
        say(f"all of them are named in {made.told}")


def search(
    who: _Who,
    query: Annotated[str | None, typer.Argument(help="What to look for, in words.", show_default=False)] = None,
    within: Annotated[
        str, typer.Option("--in", help="A folder of pictures, or a store of the same teacher.", show_default=False)
    ] = ...,  # type: ignore[assignment]
    image: Annotated[Path | None, typer.Option(help="Look for pictures like this one.", show_default=False)] = None,
    top: Annotated[int, typer.Option(help="How many pictures to find.", min=1, max=10_000)] = 10,
    page: Annotated[
        Path | None, typer.Option(help="Also write the pictures as a page of HTML.", show_default=False)
    ] = None,
    as_json: Json = False,
    batch_size: _BatchSize = 128,
    threads: _Threads = None,
    device: _Device = "auto",
) -> None:
    """Find pictures by words, or by a picture. The vectors of a folder are kept, so a second search takes milliseconds.

    Example: distillkit search runs/mine "a red bicycle" --in photos --page found.html
    """
    from distillkit.search import search as find

    found = find(
        who,
        query,
        within=within,
        image=image,
        top=top,
        page=page,
        batch_size=batch_size,
        threads=threads,
        device=device,
        say=say,
    )
    for hit in found.hits:
        told = asdict(hit) | {"path": None if hit.path is None else str(hit.path)}
        print(json.dumps(told) if as_json else f"{hit.score:.4f}  {hit.key}")
    _tell_broken(found.broken)
    say(f"vectors of the {'picture' if query is None else 'text'} by {found.by[0]}; of the pictures by {found.by[1]}")
    say(f"{len(found.hits)} of {count(found.among, 'picture')}, in {found.seconds * 1000:,.0f} ms")
    if found.page:
        say(f"next: open {found.page} in a browser")


def _tell_broken(broken: Mapping[str, str]) -> None:
    """How many cannot be read, and the first of them; some more by name."""
    if broken:
        key, told = next(iter(broken.items()))
        others = list(broken)[1:5]
        more = f"; then {', '.join(others)}{', ...' if len(broken) > 5 else ''}" if others else ""
        say(f"{count(len(broken), 'picture')} cannot be read, the first is {key}: {told}{more}")
