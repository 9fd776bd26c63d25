"""With what words a network was asked: prompts and class names belong to a number as its images do."""

from __future__ import annotations

import hashlib
from typing import Any

from distillkit.evals._answers import Answers
from distillkit.evals._encode import OpenStore
from distillkit.evaluation.asked import Asked

_LISTED = 25_000  # names; of more, captions and not classes, only the hash is told


def prompts_of(asked: Asked, open_store: OpenStore) -> dict[str, Any] | None:
    """How many prompts, what they were made with, and a hash of them in order, each with its class."""
    name = getattr(asked.measure, "prompts", None)
    if not isinstance(name, str):
        return None
    store = open_store(name)
    rows = store.index.select(["label", "text"]).take(store.ok_rows)
    lines = (
        f"{label}\t{text}\n" for label, text in zip(*(rows[c].to_pylist() for c in ("label", "text")), strict=True)
    )
    source = getattr(getattr(store, "manifest", None), "source", {})
    return {"count": rows.num_rows, "sha256": _sha256(lines), "source": source.get("knobs")}


def names_of(result: Any) -> dict[str, Any]:
    """What could be answered: the names, where they are few enough to be classes, and their hash."""
    if not isinstance(result, list) or not result or not isinstance(result[0], Answers) or result[0].names is None:
        return {}
    names = list(result[0].names)
    hashed = {"names_sha256": _sha256(f"{name}\n" for name in names)}
    return hashed | ({"names": names} if len(names) <= _LISTED else {})


def _sha256(lines: Any) -> str:
    made = hashlib.sha256()
    for line in lines:
        made.update(line.encode())
    return made.hexdigest()
