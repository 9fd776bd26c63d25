"""Some of the measured images, with the texts that each network finds nearest to them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from distillkit.errors import SourceError
from distillkit.originals import Originals
from distillkit.pixels import centre_view, decode, render
from distillkit.report.results import WHO
from distillkit.store.reading.reader import FeatureStore

SHOWN = 24
_PIXELS = 144


@dataclass(frozen=True)
class Answer:
    """The nearest texts by one network, best first; `place` is where the right one is (from 1), None when it is not."""

    who: str
    texts: list[str]
    place: int | None


@dataclass(frozen=True)
class Picture:
    """One image as a data URI, and its own text."""

    uri: str
    text: str
    answers: list[Answer]


def pictures(listed: list[dict[str, Any]], shown: int = SHOWN) -> list[Picture]:
    """`shown` of the listed images at even distances, the first among them: nobody chooses."""
    chosen = [listed[place * len(listed) // shown] for place in range(shown)] if len(listed) > shown else listed
    return [Picture(uri(one), one["text"], _answers(one)) for one in chosen]


def distance(listed: list[dict[str, Any]], shown: int = SHOWN) -> str:
    """How far apart the shown ones are: "3" or "17.9"; empty when all are shown."""
    return f"{round(len(listed) / shown, 1):g}" if len(listed) > shown else ""


def right_share(listed: list[dict[str, Any]]) -> dict[str, float]:
    """For each network, the share of all listed images whose own text is among the nearest."""
    hits = {who: [one["text"] in one[who] for one in listed if who in one] for who in WHO}
    return {who: sum(hit) / len(hit) for who, hit in hits.items() if hit}


def _answers(one: dict[str, Any]) -> list[Answer]:
    found = [(who, one[who]) for who in WHO if who in one]
    return [Answer(who, texts, texts.index(one["text"]) + 1 if one["text"] in texts else None) for who, texts in found]


def uri(one: dict[str, Any]) -> str:
    """The part of the image that the networks saw, as a small JPEG: row `row` of `store`, or the file `image`."""
    try:
        if "store" in one:
            image, _, _ = Originals(FeatureStore(one["store"]), one.get("root")).open(one["row"])
        else:
            image = decode(Path(one["image"]))
    except SourceError as error:
        told = f"{one['image']}: the report cannot show it ({error}); put it back and run the same command again"
        raise SourceError(told) from error
    pixels = render(image, centre_view(*image.size), _PIXELS)
    made = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(made, "JPEG", quality=88, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(made.getvalue()).decode()}"
