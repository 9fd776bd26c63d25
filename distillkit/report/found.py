"""What a search found, as one page to look at: the pictures, best first, with their cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from distillkit.report import render
from distillkit.report.grid import as_uri
from distillkit.system.atomic import atomic_file

_LONGEST = 480  # pixels of a shown picture, about twice those of its place on the page


@dataclass(frozen=True)
class Shown:
    """A picture on the page; `uri` is None where it cannot be shown, for the reason `why`."""

    key: str
    score: float
    uri: str | None
    why: str = ""


def thumbnail(picture: Image.Image) -> str:
    """All of a picture, made small, as a data URI."""
    small = picture.copy()
    small.thumbnail((_LONGEST, _LONGEST))
    return as_uri(small.convert("RGB"))


def write_found(
    path: Path, *, query: str, asked: str | None, who: str, within: str, among: int, shown: Sequence[Shown]
) -> Path:
    """`query`: in words; `asked`: the picture that was asked by, as a data URI. Returns the page."""
    values = {"query": query, "asked": asked, "who": who, "within": within, "among": among, "shown": shown}
    with atomic_file(path) as file:
        file.write(render("found.html", values).encode())
    return path
