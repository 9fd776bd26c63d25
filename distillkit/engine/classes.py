"""Classes that go by their names keep the numbers that the store gave them; new ones come behind.

A store from before names were kept tells them by its keys, whose first folder is the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distillkit.recipe import Corpus
from distillkit.sources._class_names import ClassNames
from distillkit.sources._names import same_form
from distillkit.store.format.classes import classes_of
from distillkit.store.format.labels import LAST
from distillkit.store.format.plan import plan_at
from distillkit.store.format.sameness import as_spelled
from distillkit.types import class_number


class Classes:
    """How the labels of a corpus become numbers, and `table`: which number each class has, where they have names.

    `before`: what the store at `store` was begun with: that of the same source says which numbers its classes have,
    also where the recipe names no file of them, or one in another order.
    """

    def __init__(self, store: Path, source: Any, before: Mapping[str, Any] | None, corpus: Corpus):
        self.store, self.source = store, source
        self.names = names = None if corpus.class_names is None else ClassNames.of(corpus.class_names)
        same = before is not None and _same_source(before["source"], corpus, source.root)
        self.known = classes_of(store) if same else {}
        self.table = dict(self.known)
        self.told = ""  # that a file of names does not say the numbers
        if names is not None:
            self.table = dict(names.numbers)
            if (
                self.known
                and self.known.keys() <= names.numbers.keys()
                and not self.known.items() <= self.table.items()
            ):
                self.table = _behind(self.known, names.numbers)
                self.told = f"{names.where} has the classes in another order; they keep the numbers of the store"
        self._by_keys = _by_keys(store) if same and not self.known and getattr(source, "classes", False) else {}

    @property
    def number(self) -> Callable[[object], int | None]:
        """Of a label; ValueError for what is none."""
        if self.names is not None:
            return self._listed
        return self._by_name if self.table or hasattr(self.source, "parts") else class_number

    @property
    def more(self) -> str | None:
        """How a name becomes a class of those that have names; None where none have."""
        if self.names is not None:
            return LAST
        return "to a file of all of them, one a line, and say class_names = FILE" if self.known else None

    def _listed(self, label: object) -> int | None:
        assert self.names is not None
        number = self.names.number(label)
        return number if number is None or not self.told else self.table[same_form(str(label).strip())]

    def _by_name(self, label: object) -> int | None:
        name = same_form(label.strip()) if isinstance(label, str) else None
        if name is None or (name not in self.table and name not in self._found):
            try:
                return class_number(label)
            except ValueError as error:
                raise ValueError(f"{error}, and no class of {self.store}" if self.known else str(error)) from error
        return self.table.setdefault(name, max(self.table.values(), default=-1) + 1)

    @property
    def _found(self) -> dict[str, int]:
        """The classes that the source itself found by their names, and numbered."""
        found: dict[str, int] = getattr(self.source, "class_numbers", {})
        return found

    def settled(self, rows: pa.Table) -> pa.Table:
        """The planned rows, where the source numbered the classes by itself; `table` is whole then."""
        found = self._found
        if self.names is not None or not found or hasattr(self.source, "parts"):
            return rows
        table = _behind(self.known or self._by_keys, found)
        self.table = table
        if all(table[name] == number for name, number in found.items()):
            return rows
        new = np.array([table[name] for name in sorted(found, key=lambda name: found[name])], np.int64)
        labels = rows["label"].combine_chunks()
        moved = pa.array(new[pc.fill_null(labels, 0).to_numpy()], mask=labels.is_null().to_numpy(zero_copy_only=False))
        return rows.set_column(rows.schema.get_field_index("label"), rows.schema.field("label"), moved)


def _same_source(before: Mapping[str, Any], corpus: Corpus, root: object) -> bool:
    """Of another one the classes may have the same names by chance: it numbers its own."""
    was, now = before.get("root"), None if root is None else str(root)
    return before.get("kind") == corpus.source.kind and as_spelled(was, now, "root") == was


def _behind(known: Mapping[str, int], names: Mapping[str, int]) -> dict[str, int]:
    """The numbers that are known, and of further names the next ones, in the order of theirs."""
    table = dict(known)
    for name in names:
        table.setdefault(name, max(table.values(), default=-1) + 1)
    return table


def _by_keys(store: Path) -> dict[str, int]:
    """The class of each first folder of a store's keys."""
    plan = plan_at(store)
    if plan is None:
        return {}
    labelled = plan.filter(pc.is_valid(plan["label"]))
    names = pc.list_element(pc.split_pattern(labelled["key"], "/", max_splits=1), 0)
    pairs = pa.table({"name": names, "label": labelled["label"]}).group_by(["name", "label"]).aggregate([])
    return {same_form(name): label for name, label in zip(*(pairs[at].to_pylist() for at in range(2)), strict=True)}
