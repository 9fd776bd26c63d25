"""What the manifest and the plan of a store are, to the byte: much of what they tell is told nowhere else.

checksums.json   the size and sha256 of manifest.json and plan.json: no part of the store, absent from older ones

Records that are written before a store is complete have a checksum in themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.store.format.manifest import FILE_NAME as MANIFEST
from distillkit.store.format.manifest import File, Manifest, digest, file_digest
from distillkit.system.atomic import as_json, parsed_json

FILE_NAME = "checksums.json"
PLAN = "plan.json"
SEAL = "sha256"  # of a record, but for itself


def checksums(store: Path, manifest: Manifest) -> dict[str, Any]:
    """Of the plan that lies in `store`, and of a manifest that is about to."""
    content = as_json(manifest.model_dump())
    coming = File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return {MANIFEST: coming.model_dump(), PLAN: file_digest(store / PLAN).model_dump()}


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record, and the checksum of what it tells."""
    return {**record, SEAL: digest(record)}


def unsealed(content: bytes) -> tuple[dict[str, Any], bool]:
    """What a record tells, and whether it had a checksum, as those of older versions have none. ValueError where it is
    not as it was written.
    """
    value = parsed_json(content)
    seal = value.pop(SEAL, None) if isinstance(value, dict) else SEAL
    if seal is not None and seal != digest(value):
        raise ValueError("not as it was written")
    return value, seal is not None
