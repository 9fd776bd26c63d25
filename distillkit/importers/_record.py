"""What is known of a teacher whose features were imported: what the importer was told, and that it was told."""

from __future__ import annotations

from typing import Any


def imported(
    by: str, *, model: str | None, sha256: str | None, logit_scale: float | None, **more: Any
) -> dict[str, Any]:
    """A teacher's record without what nobody knows; what it lacks, no other record contradicts."""
    known = {"weights_sha256": sha256, "logit_scale": logit_scale} | more
    return {"kind": "imported", "imported_from": by, "model": model or "unknown"} | {
        key: value for key, value in known.items() if value is not None
    }
