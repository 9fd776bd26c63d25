"""What changed between two recipes, or any other two dumped values."""

from __future__ import annotations

from typing import Any


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """What changed between two dumped values, as `key: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in differences(old.get(key, "absent"), new.get(key, "absent"), f"{place}.{key}".lstrip("."))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for i, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, f"{place}[{i}]")
        ]
    return [] if old == new else [f"{place}: {old!r} -> {new!r}"]
