"""What was measured is kept, by network, eval and stores, and not measured again; a new eval costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distillkit.callable import silent
from distillkit.errors import StoreError
from distillkit.evals._answers import Answers
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evaluation.asked import Asked, slug_of
from distillkit.evaluation.numbers import Numbers
from distillkit.evaluation.rows import TABLES, Rows, read_rows, write_rows
from distillkit.evaluation.turn import in_turn
from distillkit.evaluation.whose import stem_of
from distillkit.system.atomic import parsed_json, write_json

Result = Numbers | list[Answers]


class Kept:
    """The folder `evaluation` of a run. `networks`: which weights stand behind teacher, student and baseline. `say`
    hears that another evaluation is waited for, which writes there.
    """

    def __init__(self, folder: Path, networks: Mapping[str, str], say: Callable[[str], None] = silent):
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
            found[who] = _listed(asked.measure.run(encode, open_store))
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
            record = parsed_json(path.read_bytes())
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
            write_json(numbers, record)
            return
        numbers.unlink(missing_ok=True)
        tables = {who: list(one) for who, one in found.items() if not isinstance(one, dict)}
        names = [one.table for one in next(iter(tables.values()))]
        for place in reversed(range(len(names))):  # the main one last: it says which others there are
            made_of = asked.made_of | ({TABLES: names[1:]} if place == 0 else {})
            answers = {who: listed[place] for who, listed in tables.items()}
            write_rows(_file(self.folder, stem, names[place]), Rows(asked.name, made_of, self.networks, answers))


def _file(folder: Path, slug: str, table: str) -> Path:
    return folder / (f"{slug}.{slug_of(table)}.arrow" if table else f"{slug}.arrow")


def _listed(result: Any) -> Result:
    """What an eval gave, as it must be: numbers by name, or answers."""
    if isinstance(result, Answers):
        return [result]
    if isinstance(result, dict):
        return {str(name): float(value) for name, value in result.items()}
    return list(result)
