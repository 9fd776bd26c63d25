"""What every command shares: arguments, and where progress goes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distillkit.store.writing.claims import Part

Recipe = Annotated[Path, typer.Argument(help="A recipe in TOML.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a value: --set optim.lr=3e-4 (TOML); repeat for more.")
]

Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only this corpus of the recipe; repeat for more.", show_default=False),
]


def _store(place: str) -> Path:
    if "://" not in place:
        return Path(place)
    from distillkit.store.bucket.remote import local

    return local(place)


def called(path: Path) -> str:
    """A store as it was named: by its URL, if it has one."""
    from distillkit.store.bucket.remote import shown

    return shown(path)


Store = Annotated[
    Path, typer.Argument(help="A feature store, or the URL of one.", parser=_store, metavar="STORE", show_default=False)
]

Shard = Annotated[
    str | None,
    typer.Option(help="Do one part of the work, such as 2/8; other runs do the others, here or elsewhere."),
]

Json = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


def part_of(shard: str | None) -> Part:
    """The part of the work that --shard names: all of it where nothing is said."""
    from distillkit.store.writing.claims import Part

    try:
        return Part.parse(shard) if shard else Part()
    except ValueError as error:
        raise typer.BadParameter(f"--shard {error}") from error


def say(message: str) -> None:
    if "/remote/" in message:
        from distillkit.store.bucket.named import by_url

        message = by_url(message)
    print(message, file=sys.stderr, flush=True)


def command() -> str:
    """This command line, as stores and run folders record it."""
    return shlex.join(["distillkit", *sys.argv[1:]])
