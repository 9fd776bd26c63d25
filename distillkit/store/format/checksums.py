"""What the files of a store are, to the byte, of which no manifest tells: what they say is said nowhere else.

checksums.json   the size and sha256 of manifest.json and plan.json, and of classes.json and left_out.jsonl where these
                 are: no part of the store, absent from older ones, of which some know of the first two alone

Records that are written before a store is complete have a checksum in themselves, see system/record.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.store.format.manifest import FILE_NAME as MANIFEST
from distillkit.store.format.manifest import File, Manifest, file_digest
from distillkit.system.atomic import as_json, parsed_json

FILE_NAME = "checksums.json"
PLAN = "plan.json"
BESIDE = ("classes.json", "left_out.jsonl")  # no part of the store, and read again


def checksums(store: Path, manifest: Manifest) -> dict[str, Any]:
    """Of the plan that lies in `store`, and of a manifest that is about to."""
    content = as_json(manifest.model_dump())
    coming = File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    own = {MANIFEST: coming.model_dump(), PLAN: file_digest(store / PLAN).model_dump()}
    return own | {name: file_digest(store / name).model_dump() for name in beside(store)}


def beside(store: Path) -> Iterator[str]:
    """Those of `BESIDE` that a store has."""
    return (name for name in BESIDE if (store / name).is_file())


def said(store: Path) -> dict[str, Any] | None:
    """What checksums.json says by name; None where there is none, or it is damaged, which `verify` tells."""
    try:
        found = parsed_json((store / FILE_NAME).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def as_written(store: Path, name: str, content: bytes) -> bool:
    """Whether this is what a file held when it was written, as far as anybody knows."""
    want = (said(store) or {}).get(name)
    return not isinstance(want, dict) or want.get("sha256") == hashlib.sha256(content).hexdigest()
