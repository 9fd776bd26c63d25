"""The maps of a comparison as its page reads them: places as two bytes each way, and what is known of each dot."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from distillkit.callable import Say
from distillkit.errors import MissingExtra
from distillkit.evaluation.arms import TEACHER
from distillkit.report.maps import maps
from distillkit.report.spaces import NEIGHBOURS, Spaces
from distillkit.system.wording import count as counted


def mapped(
    spaced: Spaces | str,
    short: Mapping[str, str],
    pictures: Mapping[tuple[str, str], int],
    say: Say,
) -> tuple[dict[str, Any] | None, str]:
    """The maps, and a sentence on what they show; or None, and why there are none.

    `pictures`: their numbers on the page by store and key.
    """
    if isinstance(spaced, str):
        return None, spaced
    try:
        drawn = dict(zip(spaced.features, maps(list(spaced.features.values()), say), strict=True))
    except MissingExtra as error:
        return None, str(error)
    heard, places = spaced.heard, spaced.places
    known = [who for who in spaced.features if who in heard.answers]
    keys = [heard.keys[place] for place in places.tolist()]
    truths = [heard.truth(place) for place in places.tolist()]
    number = {name: n for n, name in enumerate(dict.fromkeys(truths))}
    made = {
        "networks": [short[who] for who in known],
        "keys": keys,
        "names": list(number),
        "truth": [number[truth] for truth in truths],
        "places": {short[who]: packed(drawn[who]) for who in known},
        "right": {short[who]: _bytes(heard.right(who)[places].astype(np.uint8)) for who in known},
        "agreement": {short[who]: _shares(spaced.agreement(who)) for who in known if who != TEACHER},
        "pictures": [pictures.get((heard.store, key)) for key in keys],
    }
    images = ("" if len(keys) == len(heard.keys) else f"{len(keys):,} of ") + counted(len(heard.keys), "image")
    told = (
        f"{images} of {heard.eval}, as each network sees them, by t-SNE; each map but the first "
        f"begins from the first. Neighbours are the {NEIGHBOURS} nearest."
    )
    return made, told


def packed(places: Float[np.ndarray, "n 2"]) -> str:
    """As base64 of little-endian uint16 pairs, the middle in the middle, one scale for both axes."""
    low, high = places.min(0), places.max(0)
    span = max(float((high - low).max()), 1e-12)
    scaled = (places - (low + high) / 2) / span * 65535 + 32767.5
    return _bytes(np.clip(np.round(scaled), 0, 65535).astype("<u2"))


def _shares(values: Float[np.ndarray, "n"]) -> str:
    return _bytes(np.round(255 * values).astype(np.uint8))


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
