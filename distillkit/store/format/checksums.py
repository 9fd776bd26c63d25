"""What the manifest and the plan of a store are, to the byte: much of what they tell is told nowhere else.

checksums.json   the size and sha256 of manifest.json and plan.json: no part of the store, absent from older ones
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from distillkit.store.format.manifest import FILE_NAME as MANIFEST
from distillkit.store.format.manifest import File, Manifest, file_digest
from distillkit.system.atomic import as_json

FILE_NAME = "checksums.json"
PLAN = "plan.json"


def checksums(store: Path, manifest: Manifest) -> dict[str, Any]:
    """Of the plan that lies in `store`, and of a manifest that is about to."""
    content = as_json(manifest.model_dump())
    coming = File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return {MANIFEST: coming.model_dump(), PLAN: file_digest(store / PLAN).model_dump()}
