"""distillkit store info: what a store holds, who made it, how far it is."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distillkit.cli.console import Store, say
from distillkit.system.wording import count, rows_and_failed

if TYPE_CHECKING:
    from distillkit.store.format.manifest import Manifest

_CLASSES = 16  # that are named
_NO_FAISS = 'FAISS, which is not installed: pip install "distillkit[mining]", or [mining-gpu]'


def store_info(
    path: Store,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifests and all classes, or the progress, as JSON.")
    ] = False,
) -> None:
    """Print what a store holds and who made it.

    If it is not complete: how far it is, and what completes it.

    Example: distillkit store info stores/demo/images
    """
    from distillkit.store.bucket.remote import shown
    from distillkit.store.format.classes import classes_of
    from distillkit.store.format.maker import how_again
    from distillkit.store.format.manifest import Manifest
    from distillkit.store.reading.additions import FOLDER, additions
    from distillkit.store.reading.selection import FILE_NAME, Selection
    from distillkit.store.reading.unfinished import unfinished

    if (path / FILE_NAME).is_file():
        view = Selection(path)
        if not as_json:
            print(f"{path}: {count(view.count, 'row')} of {shown(view.store)}")
            print(f"digest   {view.digest}\n")
        refused = view.refused()
        if refused:
            say(refused)
        path = view.store
    begun = unfinished(path)
    if begun:
        told = [*begun.lines, f"what completes it: {how_again(path)}"]
        print(json.dumps(asdict(begun) | {"path": str(path)}) if as_json else "\n".join(told))
        return
    manifest = Manifest.read(path)
    if as_json:
        every = {".": manifest} | {f"{FOLDER}/{name}": added for name, added in additions(path, manifest).items()}
        facts = {name: {"digest": one.digest} | one.model_dump() for name, one in every.items()}
        facts["."] |= {"classes": classes} if (classes := classes_of(path)) else {}
        print(json.dumps(facts))
        return
    _print_volume(path, manifest)
    for note in _notes(path):
        print(note)
    if manifest.source["kind"] == "merged":
        print(
            f'adding   a further teacher: a recipe with out = "{path.absolute().parent}" and a corpus "{path.name}" of '
            "this source: docs/feature-store.md, Stores of several corpora"
        )
    for name, added in additions(path, manifest).items():
        print()
        _print_volume(path / FOLDER / name, added)
    print(f"\nmining here is by {_searching()}")


def _searching() -> str:
    import torch

    from distillkit.system.machine import search_library

    library = search_library()
    if library is None:
        return _NO_FAISS
    idle = "gpu" in library and not torch.cuda.is_available()
    return f"{library}, on the CPU, as PyTorch finds no GPU" if idle else library


def _print_volume(path: Path, manifest: Manifest) -> None:
    from distillkit.recipe.spelled import spelled_knobs
    from distillkit.store.bucket.remote import shown
    from distillkit.store.format.log import mined_of, unasked

    outside = unasked(path)
    told = rows_and_failed(manifest.rows, manifest.skipped - outside, outside, mined_of(path))
    print(f"{shown(path)}: {told}; {count(len(manifest.shards), 'shard')}")
    print(f"digest   {manifest.digest}")
    print(f"source   {manifest.source['kind']}: {spelled_knobs(manifest.source['knobs'])}")
    if manifest.views.get("count", 1) > 1:
        print(f"views    {manifest.views['count']} of each image")
    for name, field in manifest.fields.items():
        clipped, all_of_it = sum(shard.clipped.get(name, 0) for shard in manifest.shards), math.prod(field.shape)
        told = f", {clipped} value{'s'[: clipped > 1]} of {manifest.rows * all_of_it} clipped" if clipped else ""
        packed = f", {field.compression}" if field.compression else ""
        print(f"field    {name}  {field.dtype} {field.shape}{packed}{told}")
    for alias, teacher in manifest.teachers.items():
        sha256, precision = teacher.get("weights_sha256", "")[:16], teacher.get("precision", "")
        print(
            f"teacher  {alias}: "
            + ", ".join(filter(None, [teacher["model"], sha256 and f"sha256 {sha256}", precision]))
        )


def _notes(path: Path) -> list[str]:
    """What the log says that the numbers do not."""
    from distillkit.store.format.classes import classes_of
    from distillkit.store.format.log import logged, planned
    from distillkit.store.format.manifest import Manifest

    lines, told, classes = logged(path), planned(path), classes_of(path)
    numbered = [f"{number} {name}" for name, number in sorted(classes.items(), key=lambda one: one[1])]
    if len(numbered) > _CLASSES:  # those that came last are what one looks for
        numbered = [*numbered[: _CLASSES - 2], "...", *numbered[-2:]]
    named = ", ".join(numbered) + ("  (all of them: --json)" if len(classes) > _CLASSES else "")
    halved = Counter(alias for line in lines for alias in line.get("halved", []))
    dropped = sum(line.get("dropped", 0) for line in lines)
    return [
        *([f"corpus   {told}"] if told else []),
        *([f"classes  {len(classes)}: {named}"] if classes else []),
        *(
            f"note     {what}: {number} by {alias}"
            for what, counts in Manifest.read(path).remarks.items()
            for alias, number in counts.items()
        ),
        *([f"note     decoded without what lies beside its pixels: {count(dropped, 'image')}"] if dropped else []),
        *(
            f"note     teacher {alias} ran out of memory in {count(number, 'shard')}: half batches may differ in their "
            "last bits"
            for alias, number in halved.items()
        ),
    ]
