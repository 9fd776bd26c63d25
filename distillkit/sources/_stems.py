"""Which members of a tar are one sample: those whose names are equal up to a dot.

By webdataset's rule that is the first dot of the last part of the name, which makes `0001.input.jpg` and
`0001.target.jpg` a sample of two images, and of `2024.01.07.png` and `2024.01.08.png` one, too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from typing import Literal

from distillkit.errors import SourceError
from distillkit.sources._places import IMAGES
from distillkit.system.wording import count


def split(name: str, dots: Literal["first", "last"]) -> tuple[str, str]:
    """Stem and extension, in lower case; no stem for what is hidden or lies in a hidden folder."""
    folder, _, last = name.removeprefix("./").rpartition("/")
    if last.startswith(".") or any(part.startswith(".") and part != ".." for part in folder.split("/")):
        return "", ""
    stem, _, extension = last.partition(".") if dots == "first" or "." not in last else last.rpartition(".")
    return posixpath.join(folder, stem), extension.lower()


def refuse_folded(where: str, stem: str, parts: Collection[str]) -> None:
    """SourceError where several pictures fell into one sample that has no image of its own."""
    pictures = sorted(part for part in parts if f".{part.rpartition('.')[2]}" in IMAGES)
    if len(pictures) > 1:
        raise SourceError(
            f"{where}: {count(len(pictures), 'picture')} fall into one sample {stem!r} (.{pictures[0]}, "
            f".{pictures[1]}, ...): "
            'names end at their first dot; set source.dots = "last" where dots belong to names, or source.image = '
            f'"{pictures[0]}" where a sample has several'
        )
