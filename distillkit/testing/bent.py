"""Manifests that no reader may believe: what is changed of a good one, and the sentence that forbids it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Said = dict[str, Any]
_KEYS = "has keys or types other than those above"
_VERSION = "another `format` or `version`"
_SUM = "a manifest whose shards do not add up to `rows` and `skipped`"
_FULL = "a shard other than the last is not full"
_PROMISES = "with a `rows_per_shard` that breaks the promises above"
_FIELD = "a field whose `teacher` is not in `teachers`"
_NAME = "whose name has not exactly two parts (none of them empty, `.` or `..`; no `\\` in it)"
_OWN = "(or is not `views`)"
_SHAPE = "whose shape has no axis or one below 1"
_VIEWS = "whose views are not `views.count`"
_PACKED = "that is compressed and has rows of more than 256 MiB"
_FILES = "a shard whose `files` are not exactly those that its fields, its index and its ledger make"
_SIZES = "have other sizes than shape and dtype make"
_STEPS = "`files` that are not exactly the steps"
_NEWER = "anything newer in a store of version 1 must be refused"


def _first(said: Said) -> Said:
    return said["fields"][min(said["fields"])]


def _file(said: Said) -> Said:
    """Of the first shard, the entry of a file of its first field."""
    name = min(said["fields"])
    return next(file for path, file in said["shards"][0]["files"].items() if path.startswith(f"{name}/"))


def _renamed(said: Said, name: str) -> None:
    said["fields"][name] = said["fields"].pop(min(said["fields"]))


def _newer(said: Said) -> None:
    said["version"] = 1
    _first(said)["dtype"] = "bfloat16"


def _short(said: Said) -> None:
    """A row less in the first of two shards, and all that adds up; where there is one shard, it comes twice."""
    if not said["shards"][1:]:
        last = said["shards"][0]
        said["shards"].append(dict(last))
        said.update(rows=said["rows"] + last["rows"], skipped=said["skipped"] + last["rows"] - last["ok"])
    first = said["shards"][0]
    failed = first["rows"] > first["ok"]
    first.update(rows=first["rows"] - 1, ok=first["ok"] - (not failed))
    said.update(rows=said["rows"] - 1, skipped=said["skipped"] - failed)


BENT: list[tuple[str, Callable[[Said], Any]]] = [
    (_KEYS, lambda said: said.update(more=1)),
    (_KEYS, lambda said: said.pop("made_with")),
    (_KEYS, lambda said: said.update(rows=str(said["rows"]))),
    (_KEYS, lambda said: _first(said).update(colour="red")),
    (_KEYS, lambda said: said["source"].pop("plan")),
    (_VERSION, lambda said: said.update(format="another")),
    (_VERSION, lambda said: said.update(version=99)),
    (_VERSION, lambda said: said.pop("version")),
    (_SUM, lambda said: said.update(rows=said["rows"] + 1)),
    (_SUM, lambda said: said.update(skipped=said["skipped"] + 1)),
    (_SUM, lambda said: said.update(shards=[])),
    (_SUM, lambda said: said["shards"].append(said["shards"][-1])),
    (_SUM, lambda said: said["shards"][0].update(ok=said["shards"][0]["rows"] + 1)),
    (_FULL, _short),
    (_PROMISES, lambda said: said.update(rows_per_shard=said["rows_per_shard"] + 1)),
    (_PROMISES, lambda said: said.update(rows_per_shard=0)),
    (_FIELD, lambda said: said.update(teachers={})),
    (_FIELD, lambda said: _first(said).update(teacher="nobody")),
    (_OWN, lambda said: _first(said).update(teacher="views")),
    (_NAME, lambda said: _renamed(said, "toy")),
    (_NAME, lambda said: _renamed(said, "toy/")),
    (_NAME, lambda said: _renamed(said, "toy/..")),
    (_NAME, lambda said: _renamed(said, "toy/a\\b")),
    (_NAME, lambda said: _renamed(said, "toy/../image")),
    (_SHAPE, lambda said: _first(said).update(shape=[])),
    (_SHAPE, lambda said: _first(said).update(shape=[0])),
    (_VIEWS, lambda said: _first(said).update(per_view=True)),
    (_PACKED, lambda said: _first(said).update(compression="zstd", shape=[1 << 30, 64])),
    (_FILES, lambda said: said["shards"][0]["files"].pop("index/00000.arrow")),
    (_FILES, lambda said: said["shards"][0]["files"].update({"more": _file(said)})),
    (_SIZES, lambda said: _file(said).update(bytes=_file(said)["bytes"] + 64)),
    (_SIZES, lambda said: _first(said).update(shape=[1 << 50])),
    (_STEPS, lambda said: said.setdefault("files", {}).update({"more.steps/c/0/0": _file(said)})),
    (_NEWER, _newer),
]
