"""When two records mean the same teacher, and when a store is the one that is asked for.

A teacher is its weights and what it makes of images and texts: architecture, preprocessing, activation, precision. What
it is called, and where its files lie, are remarks: a store keeps and shows them, and nothing compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.recipe import differences
from distillkit.system.atomic import parsed_json
from distillkit.system.wording import network

Record = Mapping[str, Any]

# Names and places; and what follows from the weights, whose digest is over the name, dtype, shape and bytes of each.
_REMARKS = ("model", "weights", "prefix", "tensors", "parameters")
# Facts that say most: told before details that follow from them, such as activations.
_MOST = ("kind", "weights_sha256")
# What an extraction may change without changing a row.
_FREE = ("batch_size",)
_SHORT = 16  # digits of a digest that people are shown


def other_teacher(one: Record, other: Record) -> str | None:
    """What tells the teachers of two fingerprints apart, `fact: here against there`; None where they are the same.

    Both names are told, and both digests where they are known. Of a teacher whose features were imported not all is
    known; it must agree in what is, and in its name unless the weights are known.
    """
    imported = "imported" in (one.get("kind"), other.get("kind"))
    weights = [record.get("weights_sha256") for record in (one, other)]
    here, there = (_compared(record, named=None in weights) for record in (one, other))
    unknown = {"architecture"} if None in (here.get("architecture"), there.get("architecture")) else set()
    if imported:
        unknown |= {"kind"} | (here.keys() ^ there.keys())
    for name in (*(name for name in _MOST if name in here and name in there), *(here | there)):
        if name not in unknown and here.get(name) != there.get(name):
            return "; ".join([f"{name}: {here.get(name)!r} against {there.get(name)!r}", *_named(one, other, name)])
    return None


def teacher_in_short(record: Record) -> str:
    """What a teacher is called and the beginning of its weights' digest, as far as they are known."""
    sha256 = record.get("weights_sha256")
    return network(str(record.get("model"))) + (f" (weights {sha256[:_SHORT]})" if isinstance(sha256, str) else "")


def _named(one: Record, other: Record, told: str) -> list[str]:
    """What else helps to see which two teachers are meant."""
    pairs = [("model", one.get("model"), other.get("model"))] if one.get("model") != other.get("model") else []
    pairs.append(("weights_sha256", str(one.get("weights_sha256"))[:_SHORT], str(other.get("weights_sha256"))[:_SHORT]))
    return [
        f"{name} {here} against {there}" for name, here, there in pairs if name != told and "None" not in (here, there)
    ]


def begun_with(store: Path) -> dict[str, Any] | None:
    """The identity that a store was begun with; None where there is none. StoreError for what is no identity."""
    path = store / "plan.json"
    try:
        found = parsed_json(path.read_bytes()) if path.is_file() else None
        for name in ("source", "teachers", "fields", "views"):
            table = {} if found is None else found.get(name, {})
            if not isinstance(table, dict) or (
                name in ("teachers", "fields") and not all(isinstance(one, dict) for one in table.values())
            ):
                raise ValueError(f"{name} is no table")
    except (ValueError, AttributeError) as error:
        raise StoreError(f"{path}: damaged ({error}); move {store} away and make it again") from error
    return found


def recognised(before: Record | None, now: Record) -> dict[str, Any]:
    """The identity `now`, put as the store of identity `before` has it wherever the two mean the same.

    Each teacher is called as it was called then, and what changes no row is as it was.
    """
    if before is None:
        return dict(now)
    known = before.get("teachers", {})
    teachers = {
        alias: known[alias] if alias in known and other_teacher(known[alias], record) is None else record
        for alias, record in now.get("teachers", {}).items()
    }
    free = {name: before[name] for name in _FREE if name in before and name in now}
    return {**now, **({"teachers": teachers} if "teachers" in now else {}), **free}


def changes(before: Record, now: Record) -> list[str]:
    """What makes the store of identity `now` another one than that of `before`, as `key: old -> new`."""
    found = differences(dict(before), recognised(before, now))
    return sorted(found, key=_says)


def _says(line: str) -> int:
    """The place of a difference among others: weights say most, the digest of a plan little, names the least."""
    first, *more = line.partition(": ")[0].split(".")
    if first == "teachers":
        return 0 if "weights_sha256" in more else 3 if more[-1:] and more[-1] in _REMARKS else 1
    return 2 if first == "plan" else 1


def _compared(record: Record, named: bool) -> dict[str, Any]:
    """The facts of a fingerprint that count; with its name where weights are not known."""
    if named:
        return dict(record)
    facts = {name: value for name, value in record.items() if name not in _REMARKS}
    return {**facts, "architecture": _architecture(record)} if "model" in record else facts


def _architecture(record: Record) -> str | None:
    """What the name says of it: blurring or padding have no weights. None of a folder, or of another kind's names.

    open_clip's "-quickgelu" is an activation, which has a fact of its own.
    """
    name = str(record["model"])
    if ":" in name.partition("/")[0] or record.get("kind") not in ("openclip", "timm"):
        return None
    if record["kind"] == "openclip":
        return name.partition("/")[0].removesuffix("-quickgelu")
    return name.partition(".")[0]
