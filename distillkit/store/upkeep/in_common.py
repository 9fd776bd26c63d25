"""Which fields stores of several corpora are put together by: all of them, or those that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.format.field import PARAMETERS, Field
from distillkit.store.format.sameness import changes
from distillkit.store.reading.reader import FeatureStore

_Fields = dict[str, Field]


def in_common(stores: Sequence[FeatureStore], asked: Sequence[str] | None) -> _Fields:
    """The fields of the store to be: those `asked` for, "image" or "clip/image", or all.

    StoreError where a store lacks one, or has another teacher, other views or another kind of numbers in it.
    """
    chosen = [_chosen(store, asked) for store in stores]
    facts = [_facts(*pair) for pair in zip(stores, chosen, strict=True)]
    for store, own, of_it in zip(stores[1:], chosen[1:], facts[1:], strict=True):
        both = chosen[0].keys() & own.keys()
        told = [_facts(stores[0], chosen[0], both), _facts(store, own, both)]
        if found := changes(*told):
            raise StoreError(
                f"{stores[0].path} and {store.path} cannot be one store: {found[0]}; extract one of them as the other "
                "was"
            )
        if facts[0] != of_it and chosen[0].keys() != own.keys():
            raise StoreError(_lacking(stores, chosen))
    return chosen[0]


def teachers_of(store: FeatureStore, fields: _Fields) -> dict[str, Any]:
    """The records of those that gave these fields."""
    given = {field.teacher for field in fields.values()}
    return {alias: facts for alias, facts in store.manifest.teachers.items() if alias in given}


def _chosen(store: FeatureStore, asked: Sequence[str] | None) -> _Fields:
    fields = store.manifest.fields
    if asked is None:
        return dict(fields)
    for name in asked:
        if not any(name in (full, full.partition("/")[2]) for full in fields):
            raise StoreError(f"{store.path}: has no field {name!r}, only {', '.join(fields)}; leave it out of --fields")
    wanted = {*asked, PARAMETERS}
    return {full: field for full, field in fields.items() if wanted & {full, full.partition("/")[2]}}


def _facts(store: FeatureStore, fields: _Fields, names: Any = None) -> dict[str, Any]:
    kept = {name: field for name, field in fields.items() if names is None or name in names}
    told = {name: field.model_dump() for name, field in kept.items()}
    return {"teachers": teachers_of(store, kept), "fields": told, "views": store.manifest.views}


def _lacking(stores: Sequence[FeatureStore], chosen: Sequence[_Fields]) -> str:
    """Which store lacks which fields, and how to put together what all have."""
    every = list(dict.fromkeys(name for own in chosen for name in own))
    shared = [name for name in every if name != PARAMETERS and all(name in own for own in chosen)]
    lacks = [
        f"{store.path} lacks {', '.join(name for name in every if name not in own)}"
        for store, own in zip(stores, chosen, strict=True)
        if len(own) < len(every)
    ]
    anew = "extract there what it lacks"
    ways = f"to merge what all have: --fields {','.join(shared)}; or {anew}" if shared else anew
    return f"cannot be one store by all their fields: {'; '.join(lacks)}; {ways}"
