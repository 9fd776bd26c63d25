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


def pictures(shown: list[dict[str, Any]]) -> list[Picture]:
    """The images that answers.py chose, each with what every network answered."""
    return [Picture(uri(one), one["text"], _answers(one["answers"])) for one in shown]


def distance(shown: int, count: int) -> str:
    """How far apart the shown ones are: "3" or "17.9"; empty when all are shown."""
    return f"{round(count / shown, 1):g}" if count > shown else ""


def _answers(by_who: dict[str, tuple[list[str], int | None]]) -> list[Answer]:
    return [Answer(who, *by_who[who]) for who in WHO if who in by_who]


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
    return as_uri(Image.fromarray(pixels.transpose(1, 2, 0)))


def as_uri(image: Image.Image) -> str:
    """The picture as a JPEG that a page carries in itself."""
    made = io.BytesIO()
    image.save(made, "JPEG", quality=88, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(made.getvalue()).decode()}"
