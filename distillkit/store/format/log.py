"""The log of an extraction, which travels with a store: for people, no part of it, covered by no checksum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE_NAME = "extract.jsonl"


def logged(store: Path) -> list[dict[str, Any]]:
    """What was told of each shard when it was made, last. A kill can leave half a line, or no line."""
    path = store / FILE_NAME
    text = path.read_text("utf-8") if path.is_file() else ""
    # A shard that was made twice counts as what was kept: the later one.
    shards = {line["shard"]: line for line in map(_parsed, text.splitlines()) if line}
    return list(shards.values())


def _parsed(line: str) -> dict[str, Any] | None:
    return json.loads(line) if line.startswith("{") and line.endswith("}") else None
