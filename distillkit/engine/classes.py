"""Classes that a source numbers by name keep the numbers that the store gave them; new ones come behind.

A store from before names were kept tells them by its keys, whose first folder is the class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distillkit.sources._names import same_form
from distillkit.store.format.classes import classes_of
from distillkit.store.format.plan import plan_at


def numbered(
    store: Path, source: Any, rows: pa.Table, before: dict[str, Any] | None
) -> tuple[pa.Table, dict[str, int]]:
    """The plan with its labels as the store at `store` has them, and the number of each class.

    `before`: what that store was begun with. Where the source numbers no classes, or is another one, nothing changes.
    """
    found: dict[str, int] = getattr(source, "class_numbers", {})
    if not found or before is None or before["source"].get("root") != str(source.root):
        return rows, found
    known = classes_of(store) or _by_keys(store)
    table = dict(known)
    for name in found:
        table.setdefault(name, max(table.values(), default=-1) + 1)
    if all(table[name] == number for name, number in found.items()):
        return rows, table
    new = np.array([table[name] for name in sorted(found, key=lambda name: found[name])], np.int64)
    labels = rows["label"].combine_chunks()
    moved = pa.array(new[pc.fill_null(labels, 0).to_numpy()], mask=labels.is_null().to_numpy(zero_copy_only=False))
    return rows.set_column(rows.schema.get_field_index("label"), rows.schema.field("label"), moved), table


def _by_keys(store: Path) -> dict[str, int]:
    """The class of each first folder of a store's keys."""
    plan = plan_at(store)
    if plan is None:
        return {}
    labelled = plan.filter(pc.is_valid(plan["label"]))
    names = pc.list_element(pc.split_pattern(labelled["key"], "/", max_splits=1), 0)
    pairs = pa.table({"name": names, "label": labelled["label"]}).group_by(["name", "label"]).aggregate([])
    return {same_form(name): label for name, label in zip(*(pairs[at].to_pylist() for at in range(2)), strict=True)}
