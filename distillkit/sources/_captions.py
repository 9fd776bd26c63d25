"""One image, no text, one text or several: which of them become samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from distillkit.errors import SourceError
from distillkit.types import Sample

# The text as it is; the one of that number, from 0; or each, as a sample of its own with the key `<key>/<number>`.
Captions = int | Literal["whole", "all"]


def with_captions(
    key: str, image: str | None, said: str | list[str] | None, label: int | float | str | None, captions: Captions
) -> Iterator[Sample]:
    """The samples of one item. A number, and "all", count the entries of a list, or the lines of a text."""
    texts = _listed(key, said, captions)
    if captions == "all" and texts:
        for number, text in enumerate(texts):
            yield Sample(f"{key}/{number}", image=image, text=text, label=label)
        return
    number = captions if isinstance(captions, int) else 0
    yield Sample(key, image=image, text=texts[number] if 0 <= number < len(texts) else None, label=label)


def _listed(key: str, said: str | list[str] | None, captions: Captions) -> list[str]:
    if captions == "whole" and isinstance(said, list) and len(said) > 1:
        raise SourceError(f'{key}: has {len(said)} captions; set source.captions to "all", or to a number from 0')
    lines = said if isinstance(said, list) else [said or ""] if captions == "whole" else (said or "").split("\n")
    # An empty text is an absent one.
    return [line.strip() for line in lines if line and line.strip()]
