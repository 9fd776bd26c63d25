"""When two records mean the same teacher, and when a store is the one that is asked for.

A teacher is its weights and what it makes of images and texts: architecture, preprocessing, activation, precision. What
it is called, and where its files lie, are remarks: a store keeps and shows them, and nothing compares them. A corpus is
its rows and where its images lie; how that place is spelled is a remark, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.errors import NoHome, StoreError
from distillkit.recipe import differences
from distillkit.store.format.manifest import READABLE, VERSION
from distillkit.system.atomic import parsed_json
from distillkit.system.paths import expand
from distillkit.system.remote import is_remote, local_path
from distillkit.system.wording import network

Record = Mapping[str, Any]

# Names and places; and what follows from the weights, whose digest is over the name, dtype, shape and bytes of each.
_REMARKS = ("model", "weights", "prefix", "tensors", "parameters")
# Facts that say most: told before details that follow from them, such as activations.
_MOST = ("kind", "weights_sha256")
# What an extraction may change without changing a row.
_FREE = ("batch_size",)
# Knobs of a source, and what is recorded of it, that are files and folders.
_PLACES = ("root", "file", "folder", "descriptions", "templates_file")
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
    if None in (one.get("kind"), other.get("kind")):
        unknown |= {"kind"}  # of one's own, as it was recorded before a fingerprint without a kind was given one
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
    """The identity that a store was begun with; None where there is none. StoreError for what is no identity, and for
    one of a newer format.
    """
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
    if found is not None and found.get("version", 1) not in READABLE:
        raise StoreError(
            f"{path}: store format version {found['version']!r}, this distillkit reads 1 to {VERSION}; use the "
            f"distillkit that wrote it, or move {store} away and make it again"
        )
    return found


def recognised(before: Record | None, now: Record) -> dict[str, Any]:
    """The identity `now`, put as the store of identity `before` has it wherever the two mean the same.

    Each teacher is called as it was called then, each place is spelled so, and what changes no row is as it was.
    """
    if before is None:
        return dict(now)
    if "source" in now:
        source = as_spelled(was := before.get("source", {}), now["source"])
        same = "plan" in now and now["plan"] == before.get("plan")  # then what was left out for its key is a remark
        now = {
            **now,
            "source": {**source, **({"duplicates": was["duplicates"]} if same and "duplicates" in was else {})},
        }
    known = before.get("teachers", {})
    teachers = {
        alias: known[alias] if alias in known and other_teacher(known[alias], record) is None else record
        for alias, record in now.get("teachers", {}).items()
    }
    free = {name: before[name] for name in _FREE if name in before and name in now}
    return {**now, **({"teachers": teachers} if "teachers" in now else {}), **free}


def as_spelled(before: Any, now: Any, name: str = "") -> Any:
    """A recorded source `now`, its files and folders spelled as in `before` wherever the two mean the same place."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        told = {key: as_spelled(before.get(key), value, key) for key, value in now.items()}
        # The folder of the table is where its images lie, if nothing else is said.
        if "root" in before and "root" not in now and isinstance(now.get("file"), str):
            told |= {"root": before["root"]} if _same_place(before["root"], str(Path(now["file"]).parent)) else {}
        return told
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [as_spelled(*pair) for pair in zip(before, now, strict=True)]
    return before if name in _PLACES and _same_place(before, now) else now


def _same_place(one: Any, other: Any) -> bool:
    """Whether two spellings mean one file or folder. A relative one may have been written in another folder: then it is
    how the whole path ends. Whether the rows are those, their plan says."""
    if one == other or not (isinstance(one, str) and isinstance(other, str)):
        return bool(one == other)
    try:
        first, second = expand(one), expand(other)
    except NoHome:
        return False
    if is_remote(first) or is_remote(second):
        return first.rstrip("/") == second.rstrip("/")
    here, there = (os.path.realpath(local_path(place)) for place in (first, second))
    short = os.path.normpath(first)
    return here == there or (not first.startswith(("/", "file:")) and there.endswith(f"/{short}"))


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
