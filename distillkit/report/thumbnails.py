"""Small pictures of rows of stores, for pages that hold hundreds of them: so many at most; what is absent is told."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from distillkit.errors import NotNow, SourceError, StoreError
from distillkit.originals import Originals
from distillkit.pixels import centre_view, render
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand
from distillkit.system.wording import count

_PIXELS = 96
MOST = 480  # a page of two megabytes
_QUALITY = 80


@dataclass
class Thumbnails:
    """JPEGs by store and key. `notes`: what is not shown, and why, a line for each store."""

    jpegs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def uris(self) -> dict[tuple[str, str], str]:
        """The same as data URIs."""
        return {
            place: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" for place, jpeg in self.jpegs.items()
        }


def thumbnails(wanted: Mapping[str, Sequence[str]], roots: Mapping[str, str], *, most: int = MOST) -> Thumbnails:
    """`wanted`: keys by the name of their store, those that matter most first. `roots`: where images were moved to."""
    made = Thumbnails()
    for name, keys in wanted.items():
        keys = list(dict.fromkeys(keys))
        room = most - len(made.jpegs)
        if len(keys) > room:
            told = f"{room:,} of {count(len(keys), 'picture')} of {name} shown, so that the page stays small"
            made.notes.append(told)
        if keys[:room]:
            _add(made, name, keys[:room], roots.get(name))
    return made


def _add(made: Thumbnails, name: str, keys: list[str], root: str | None) -> None:
    try:
        store = FeatureStore(expand(name))
        rows, files = store.rows_of(keys), Originals(store, root)
        _ = files.source
    except (StoreError, SourceError, NotNow) as error:
        made.notes.append(f"the images of {name} are not here: {_reason(error)}")
        return
    failed: list[str] = []
    for key, row in zip(keys, rows.tolist(), strict=True):
        try:
            made.jpegs[name, key] = jpeg(files, row)
        except (SourceError, NotNow) as error:
            failed.append(_reason(error))
    if failed:
        made.notes.append(f"{len(failed):,} of {count(len(keys), 'image')} of {name} are not here: {failed[0]}")


def jpeg(files: Originals, row: int) -> bytes:
    """The part of the image that the networks saw. SourceError when it cannot be read."""
    image, width, height = files.open(row)
    seen = render(image, centre_view(width, height), _PIXELS)
    made = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(seen.transpose(1, 2, 0))).save(made, "JPEG", quality=_QUALITY)
    return made.getvalue()


def _reason(error: Exception) -> str:
    return str(error).partition(";")[0]
