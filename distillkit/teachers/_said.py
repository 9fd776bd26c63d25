"""What a teacher says of itself and of a batch, as everybody who asks one takes it; also one of somebody else's.

A network of one's own may give an array, its features on their side, or say little of itself. What can be meant in one
way only is taken so; of anything else one line tells what was wanted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distillkit.errors import TeacherError


def fingerprint_of(network: Any, kind: str) -> dict[str, Any]:
    """Its fingerprint as a manifest gives it back: tuples are lists. `kind` is what recipes call it, and stands for
    `kind` and `model` where it says none. TeacherError where it is no table of plain values.
    """
    told = network.fingerprint()
    where = f"teacher {kind}: fingerprint()"
    if not isinstance(told, Mapping):
        raise TeacherError(f"{where} gives {type(told).__name__}; let it return a dict of texts and numbers")
    told = {"kind": kind, "model": kind, **told}
    for name, value in told.items():
        try:
            told[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TeacherError(
                f"{where}: {name!r} cannot be kept as JSON ({error}); make a text or number of it"
            ) from None
    for name in ("kind", "model", "weights_sha256"):
        if name in told and not (isinstance(told[name], str) and told[name]):
            raise TeacherError(f"{where}: {name!r} is {told[name]!r:.60}; let it be a text")
    if not isinstance(told.get("preprocess", {}), dict):
        raise TeacherError(f"{where}: 'preprocess' is {told['preprocess']!r:.60}; let it be a dict")
    return told


def said_of(network: Any, features: Any, name: str, rows: int, who: str) -> Tensor:
    """What it said of `rows` inputs in the field `name`: [rows, *shape], without a gradient, where the network has it.

    TeacherError for what has another number of rows, or of numbers in a row: made to fit it would be other numbers.
    """
    if not hasattr(features, name):
        raise TeacherError(f"{who}: forward gives {type(features).__name__}; let it return Features({name}=...)")
    value = getattr(features, name)
    if value is None:
        raise TeacherError(f"{who}: was asked for {name!r} and gives None; let its forward fill it")
    try:
        value = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TeacherError(f"{who}: {name!r} is no tensor ({error}); let its forward return one") from None
    shape = getattr(network, "fields", {}).get(name, list(value.shape[1:]))
    if value.ndim == 0 or len(value) != rows or value[:1].numel() != torch.Size(shape).numel():
        raise TeacherError(
            f"{who}: {name!r} of {rows} inputs is {list(value.shape)}, where its `fields` say {[rows, *shape]}; "
            "mend its forward, or its fields"
        )
    if value.is_complex():
        raise TeacherError(f"{who}: {name!r} is {value.dtype}, of which no store keeps both parts; give real numbers")
    return value.reshape(rows, *shape)
