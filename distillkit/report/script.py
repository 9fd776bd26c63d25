"""JavaScript and data within a page: nothing is fetched, and the page's policy lets these very bytes run, no others."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Script:
    """`source`: what the page's Content-Security-Policy says of it."""

    text: str
    source: str


def script(*names: str) -> Script:
    """These files of this folder, one after the other."""
    text = "\n".join(Path(__file__).with_name(name).read_text("utf-8") for name in names)
    return Script(text, f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")


def embedded(value: Any) -> str:
    """A value as JSON that can stand within <script>: no caption ends it, or begins a comment."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
