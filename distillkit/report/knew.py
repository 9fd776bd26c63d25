"""Of each evaluation whether the student was trained on its images, and how to hold them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distillkit.errors import StoreError
from distillkit.report.overlap import NEVER, cure, seen
from distillkit.report.results import Table
from distillkit.report.then import Then
from distillkit.report.words import named
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand


@dataclass(frozen=True)
class Knew:
    """`told`: the end of a sentence; empty where it was trained on no images. `cure`: empty where there is none.
    `such`: the first of the images that it was trained on, where these are not all.
    """

    told: str = ""
    cure: str = ""
    such: str = ""


def knew(results: list[Table], evaluation: dict[str, Any], then: list[Then]) -> dict[str, Knew]:
    """By evaluation; each store is looked through once."""
    found: dict[str, Knew] = {}
    by_store: dict[str, Knew] = {}
    for table in results:
        # An eval of another file may have the name of one of the recipe's, and another store.
        asked = evaluation.get("evals", {}).get(table.eval, {}).get("eval", {})
        store = asked.get("store", table.store)
        if not then or not store:
            found[table.name] = Knew()
            continue
        if store not in by_store:
            by_store[store] = _of(store, then)
        found[table.name] = by_store[store]
    return found


def notes(known: dict[str, Knew], heading: str, evals: Mapping[str, str]) -> list[str]:
    """A sentence for each group of evaluations of which the heading does not say it, or not which they are, or what
    helps. Of those behind the first only where images were trained on: that the others were not is what anybody
    expects. `evals`: of which eval each table is, whose parts are one.
    """
    groups: dict[Knew, list[str]] = {}
    for number, (name, one) in enumerate(known.items()):
        if one.told and (one.told != NEVER or number == 0):
            groups.setdefault(one, []).append(evals[name])
    return [
        f"{named(names)} {'was' if len({*names}) == 1 else 'were'} measured {one.told}{one.such}"
        f"{one.cure and f'; {one.cure}'}"
        for one, names in groups.items()
        if one.cure or one.such or len({*names}) > 1 or one.told not in heading
    ]


def _of(store: str, then: list[Then]) -> Knew:
    """Numbers of before may be of a store that was moved or removed since: nobody can look through it any more."""
    try:
        return _looked_up(FeatureStore(expand(store)), then)
    except StoreError:
        return Knew()


def _looked_up(measured: FeatureStore, then: list[Then]) -> Knew:
    # Copies are looked for by what the store's own teacher said, whoever was learned from.
    stores, rows = [FeatureStore(one.store.path) for one in then], [one.rows_now() for one in then]
    told, such = seen(measured, *stores, rows=rows)
    return Knew(told, "" if told == NEVER else cure(measured, *stores, rows=rows), such)
