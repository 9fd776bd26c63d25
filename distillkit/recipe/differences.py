"""What changed between two recipes, or any other two dumped values."""

from __future__ import annotations

from typing import Any


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """What changed between two dumped values, as `key: old -> new`.

    Lists of components of other lengths are told by name, and those of the same name by what changed in them.
    """
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
    before, after = _named(old), _named(new)
    if before and after:
        return [
            *([] if list(before) == list(after) else [f"{place}: {', '.join(before)} -> {', '.join(after)}"]),
            *(
                line
                for name in before
                if name in after
                for line in differences(before[name], after[name], f"{place}.{name}")
            ),
        ]
    return [] if old == new else [f"{place}: {old!r} -> {new!r}"]


def _named(value: Any) -> dict[str, Any]:
    """Components of a list, such as losses, by the names they go by; nothing where one has none or that of another."""
    parts = value if isinstance(value, list) and all(isinstance(part, dict) for part in value) else []
    names = [str(part.get("name") or part.get("kind") or "") for part in parts]
    return dict(zip(names, parts, strict=True)) if all(names) and len(set(names)) == len(names) else {}
