"""The log of an extraction, which travels with a store: for people, no part of it, covered by no checksum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE_NAME = "extract.jsonl"


def logged(store: Path) -> list[dict[str, Any]]:
    """What was told of each shard when it was made, last. A kill can leave half a line, or no line."""
    # A shard that was made twice counts as what was kept: the later one.
    return list({line["shard"]: line for line in _lines(store) if "shard" in line}.values())


def planned(store: Path) -> str | None:
    """What was told of the corpus when it was planned, last."""
    return next((line["planned"] for line in reversed(_lines(store)) if "planned" in line), None)


def _lines(store: Path) -> list[dict[str, Any]]:
    path = store / FILE_NAME
    text = path.read_text("utf-8") if path.is_file() else ""
    return [line for line in map(_parsed, text.split("\n")) if line is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
