"""One image, no text, one text or several: which of them become samples.

Tables have the captions of an image in one row, or in a row each, which may lie anywhere: with "all" they are numbered
through. Of tens of millions of rows nothing stays in memory but 16 bytes each.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from distillkit.errors import SourceError
from distillkit.system.wording import count as counted
from distillkit.types import Sample

# The text as it is; the one of that number, from 0; or each, as a sample of its own with the key `<key>/<number>`.
Captions = Annotated[int, Field(ge=0)] | Literal["whole", "all"]


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
        raise SourceError(
            f'{key}: has {counted(len(said), "caption")}; set source.captions to "all", or to a number from 0'
        )
    lines = said if isinstance(said, list) else [said or ""] if captions == "whole" else (said or "").split("\n")
    # An empty text is an absent one.
    return [line.strip() for line in lines if line and line.strip()]


def numbered_through(samples: Callable[[], Iterator[Sample]], captions: Captions) -> Iterator[Sample]:
    """The samples of a table whose rows may share an image: of "all" captions the n-th of an image has the key
    `<key>/n`, whichever row it is from. `samples` begins a pass over the table, as often as it is called.
    """
    if captions != "all":
        yield from samples()
        return
    keys, images = array("Q"), array("Q")
    for sample in samples():
        keys.append(_mark(sample.key))
        images.append(_mark(sample.key.rpartition("/")[0]))
    ordered = np.sort(keys)
    twice = np.isin(np.frombuffer(keys, np.uint64), ordered[1:][ordered[1:] == ordered[:-1]])
    shared = np.unique(np.frombuffer(images, np.uint64)[twice])
    count = np.zeros(len(shared), np.int64)
    for sample, image in zip(samples(), images, strict=True):
        place = int(np.searchsorted(shared, image)) if len(shared) else 0
        if sample.text is None or sample.image is None or place == len(shared) or shared[place] != image:
            yield sample
            continue
        yield replace(sample, key=f"{sample.key.rpartition('/')[0]}/{count[place]}")
        count[place] += 1


def _mark(text: str) -> int:
    """8 bytes of a hash, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
