"""What sources and importers of one's own give that is no sample: one line before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distillkit.errors import SourceError
from distillkit.types import Sample

_PARTS = ("key", "image", "text", "label")  # what all who plan ask of a sample, such as a row of a named tuple


def refuse_no_samples(block: Sequence[Any], root: object) -> None:
    """SourceError that names the first that is none, or whose key or text is nothing that a store can hold as text."""
    for one in block:
        if not isinstance(one, Sample) and not all(hasattr(one, part) for part in _PARTS):
            raise SourceError(
                f"{root or 'the source'}: gives {one!r:.60}, no sample; let it yield distillkit.types.Sample(key, "
                "image, text, label)"
            )
        for name, value in (("key", one.key), ("text", one.text)):
            if not _is_text(value) and not (name == "text" and value is None):
                raise SourceError(
                    f"{root or 'the source'}: the {name} of a sample is {value!r:.60}; let it be a str that UTF-8 has, "
                    "as store and index hold texts"
                )


def _is_text(value: object) -> bool:
    """Bytes of UTF-8 are, as Arrow takes them for text."""
    if not isinstance(value, str | bytes) or value.isascii():
        return isinstance(value, str | bytes)
    try:
        _ = value.encode() if isinstance(value, str) else value.decode()
    except UnicodeError:
        return False
    return True
