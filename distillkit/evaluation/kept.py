"""What was measured is kept, by network, eval and stores, and not measured again; a new eval costs only itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.callable import Say, silent
from distillkit.errors import StoreError
from distillkit.evals._answers import Answers
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evaluation.answered import answered
from distillkit.evaluation.asked import Asked, slug_of
from distillkit.evaluation.numbers import Numbers
from distillkit.evaluation.rows import TABLES, Rows, is_rows, read_rows, write_rows
from distillkit.evaluation.turn import at_rest, in_turn
from distillkit.evaluation.whose import stem_of
from distillkit.system.record import read_record, unsealed, write_record
from distillkit.system.wording import as_word

Result = Numbers | list[Answers]


class Kept:
    """The folder `evaluation` of a run. `networks`: which weights stand behind teacher, student and baseline. `say`
    hears that another evaluation is waited for, which writes there.
    """

    def __init__(self, folder: Path, networks: Mapping[str, str], say: Say = silent):
        self.folder, self.networks, self.say = folder, dict(networks), say
        self._found: dict[str, dict[str, Result]] = {}

    def has(self, asked: Asked) -> bool:
        """Whether everybody's answers are there."""
        return self._of(asked).keys() == self.networks.keys()

    def results(self, asked: Asked) -> dict[str, Result]:
        """Everybody's answers, as far as they are there."""
        found = self._of(asked)
        return {who: found[who] for who in self.networks if who in found}

    def measure(self, asked: Asked, encoders: Mapping[str, Encode], open_store: OpenStore) -> dict[str, Result]:
        """Everybody's answers; those that are not there are asked for, and kept."""
        found = self._of(asked)
        missing = {who: encode for who, encode in encoders.items() if who not in found}
        for who, encode in missing.items():
            found[who] = answered(asked.name, asked.measure.run(encode, open_store))
        found = {who: found[who] for who in self.networks}
        self._found[asked.name] = found
        if missing:
            with in_turn(self.folder.parent, self.say):
                self._keep(asked, found)
        return found

    def keep_still(self, asked: Asked) -> None:
        """What was measured is there, also where another evaluation has measured something else by that name since.

        Asked by who has its turn, see `in_turn`.
        """
        if not self.has(asked):
            self._keep(asked, self._found[asked.name])

    def _of(self, asked: Asked) -> dict[str, Result]:
        stem = stem_of(self.folder, asked.name)
        numbers = self.folder / f"{stem}.json"
        if numbers.is_file():
            return self._numbers(asked, numbers)
        main = self.folder / f"{stem}.arrow"
        if not main.is_file():
            return {}
        try:
            first = read_rows(main)
            others = [read_rows(_file(self.folder, stem, table)) for table in first.made_of.get(TABLES, [])]
        except StoreError:  # damaged, or not all of it there: measured again
            return {}
        tables = [first, *others]
        if any(rows.asked != asked.made_of for rows in tables):
            return {}
        same = [
            who for who, network in self.networks.items() if all(one.networks.get(who) == network for one in tables)
        ]
        return {who: [rows.answers[who] for rows in tables] for who in same}

    def _numbers(self, asked: Asked, path: Path) -> dict[str, Result]:
        try:
            record, _ = unsealed(path.read_bytes())
            if record["made_of"] != asked.made_of:
                return {}
            return {
                who: record["numbers"][who] for who, one in self.networks.items() if record["networks"].get(who) == one
            }
        except (ValueError, KeyError, TypeError, OSError):
            return {}

    def _keep(self, asked: Asked, found: Mapping[str, Result]) -> None:
        stem = stem_of(self.folder, asked.name)
        numbers = self.folder / f"{stem}.json"
        if any(isinstance(one, dict) for one in found.values()):
            record: Any = {
                "name": asked.name,
                "made_of": asked.made_of,
                "networks": self.networks,
                "numbers": dict(found),
            }
            write_record(numbers, record)
            return
        numbers.unlink(missing_ok=True)
        tables = {who: list(one) for who, one in found.items() if not isinstance(one, dict)}
        names = [one.table for one in next(iter(tables.values()))]
        for place in reversed(range(len(names))):  # the main one last: it says which others there are
            made_of = asked.made_of | ({TABLES: names[1:]} if place == 0 else {})
            answers = {who: listed[place] for who, listed in tables.items()}
            write_rows(_file(self.folder, stem, names[place]), Rows(asked.name, made_of, self.networks, answers))


def kept_in(folder: Path) -> tuple[list[Rows], list[dict[str, Any]]]:
    """All that is kept there: the tables of rows, and the records of evals that keep none; also while an evaluation
    writes there. StoreError where something is damaged, or the tables of an eval do not belong together.
    """
    return at_rest(folder.parent, lambda: _all_of(folder))


def _all_of(folder: Path) -> tuple[list[Rows], list[dict[str, Any]]]:
    records = [_record(file) for file in sorted(folder.glob("*.json"))]
    plain, tables = {record["name"] for record in records}, dict[str, list[Rows]]()
    for file in sorted(folder.glob("*.arrow")):
        if is_rows(file) and (rows := read_rows(file)).name not in plain:  # of an eval that kept rows before
            tables.setdefault(rows.name, []).append(rows)
    return [rows for name in tables for rows in _whole(folder, tables[name])], records


def _record(file: Path) -> dict[str, Any]:
    record = read_record(file, partial(_damaged, file))
    _ = [record[name] for name in ("name", "networks", "numbers")]
    return record


def _damaged(file: Path, why: str) -> StoreError:
    return StoreError(f"{file}: damaged ({why}); delete it, and distillkit evaluate makes it again")


def _whole(folder: Path, tables: list[Rows]) -> list[Rows]:
    """The tables of one eval that its main one speaks of; of a main one that does not, as an older one, all."""
    main = next((one for one in tables if TABLES in one.made_of or not one.table), None)
    if main is None:
        return []  # who wrote them was stopped before that one
    names = {main.table, *main.made_of.get(TABLES, [one.table for one in tables])}
    own = [one for one in tables if one.table in names]
    if len(own) < len(names) or not all(_together(main, one) for one in own):
        raise StoreError(
            f"{folder}: what is kept of {main.name} is of two evaluations (was one stopped here?); measure it again: "
            f"distillkit evaluate {as_word(folder.parent)}"
        )
    return own


def _together(one: Rows, other: Rows) -> bool:
    """Whether both were measured by one evaluation."""
    both = one.networks.keys() & other.networks.keys()
    return one.asked == other.asked and all(one.networks[who] == other.networks[who] for who in both)


def _file(folder: Path, slug: str, table: str) -> Path:
    return folder / (f"{slug}.{slug_of(table)}.arrow" if table else f"{slug}.arrow")
