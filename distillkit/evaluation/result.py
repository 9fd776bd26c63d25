"""evaluation.json: the numbers of every evaluation of a run, by network, and what they were asked with.

results    by eval and network: a number by name; beside `x` there may be `x.low` and `x.high` (95 %), `x.groups` (of
           how many independent groups its items are), `x.chance` and `x.majority` (what the most
           frequent class gives, said of everything, where that is more than chance)
evals      by eval: kind and knobs, the stores' digests, `files` with the sha256 of the files that it names, by knob,
           prompts and class names with their hash, where its rows are, `typed` with which options a file of evals asked
           for it (--eval FILE), `turned` whether masks are, as their images (nothing where nobody could tell)

Numbers are made of the rows in evaluation/. What other evals of the same weights had found stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.errors import TrainError
from distillkit.evals._answers import Answers
from distillkit.evals._encode import OpenStore
from distillkit.evaluation.asked import Asked
from distillkit.evaluation.numbers import numbers
from distillkit.evaluation.prompts import names_of, prompts_of
from distillkit.evaluation.whose import stem_of
from distillkit.store.format.manifest import file_digest
from distillkit.system.atomic import atomic_file, remove_file
from distillkit.system.record import read_record, unsealed, write_record

FILE = "evaluation.json"
DONE = "evaluated.json"  # written last: which evaluation.json the report in this folder was made from


@dataclass(frozen=True)
class Result:
    """What was `found` by eval and network, of what was `asked`, of which `networks`; and more `facts` of the run.

    `typed`: the options that asked for it, where a file of evals did; a remark, that nothing is compared by.
    """

    found: Mapping[str, Mapping[str, Any]]
    asked: Sequence[Asked]
    networks: Mapping[str, str]
    facts: Mapping[str, Any]
    typed: Sequence[str] = ()


def write_result(folder: Path, result: Result, open_store: OpenStore) -> Path:
    """Write evaluation.json; returns its path."""
    before = _before(folder, result.networks)
    results, evals = before.get("results", {}), before.get("evals", {})
    for asked in result.asked:
        by_who = result.found[asked.name]
        results[asked.name] = {who: numbers(one) for who, one in by_who.items()}
        evals[asked.name] = {
            **asked.made_of,
            "rows": _rows(folder, asked, by_who),
            "prompts": prompts_of(asked, open_store),
            **names_of(next(iter(by_who.values()))),
            **({"typed": list(result.typed)} if result.typed else {}),
            **({} if asked.turned is None else {"turned": asked.turned}),
        }
    written = {"results": results, "evals": evals, "networks": dict(result.networks), **result.facts}
    write_record(folder / FILE, written)
    return folder / FILE


def same_as_before(folder: Path, asked: Sequence[Asked], networks: Mapping[str, str]) -> bool:
    """Whether the files there, the report among them, say all of this already."""
    if not all((folder / name).is_file() for name in (FILE, DONE, "report.html")):
        return False
    known = _before(folder, networks).get("evals", {})
    fresh = all(_made_of(known.get(one.name), one) == one.made_of for one in asked)
    return fresh and (folder / DONE).read_bytes() == _proof(folder)


def changed_since(folder: Path, asked: Sequence[Asked], networks: Mapping[str, str]) -> list[str]:
    """Of evals that were measured before and are other ones by now, why: a line each."""
    known, told = _before(folder, networks).get("evals", {}), []
    for one in asked:
        then = _made_of(known.get(one.name), one)
        if then is None or then == one.made_of or then["eval"] != one.made_of["eval"]:
            continue
        stores = then["stores"] if isinstance(then["stores"], dict) else {}
        other = [f"{name} has changed since" for name, digest in one.stores.items() if stores.get(name) != digest]
        if then["distillkit"] != one.made_of["distillkit"]:
            other.append(f"distillkit {then['distillkit']} measured it")
        if then.get("files") != one.made_of.get("files"):
            other.append(_other_files(then["files"], one.files))
        if then.get("counted") != one.made_of.get("counted"):
            other.append("its images or classes are counted otherwise now")
        told.append(f"{one.name}: measured anew, as {' and '.join(other)}")
    return told


def _other_files(then: Any, now: Mapping[str, str]) -> str:
    if not isinstance(then, dict):
        return f"nothing was kept of what its files ({', '.join(now)}) held then"
    return (
        f"its files ({', '.join(knob for knob, sha256 in now.items() if then.get(knob) != sha256)}) have changed since"
    )


def read_result(folder: Path) -> dict[str, Any]:
    """What evaluation.json in a run's folder tells. TrainError where it is damaged."""
    path = folder / FILE
    return read_record(path, partial(_damaged, path))


def _damaged(path: Path, why: str) -> TrainError:
    return TrainError(f"{path}: damaged ({why}); delete it, and distillkit evaluate makes it again")


def unfinished(folder: Path) -> None:
    """From here until `done` the report is not that of evaluation.json."""
    remove_file(folder / DONE)


def done(folder: Path) -> None:
    """The report is made from evaluation.json as it is."""
    with atomic_file(folder / DONE) as file:
        file.write(_proof(folder))


def _proof(folder: Path) -> bytes:
    return json.dumps({"evaluation": file_digest(folder / FILE).sha256}).encode()


def _made_of(record: Any, asked: Asked) -> Any:
    return {key: record.get(key) for key in asked.made_of} if isinstance(record, dict) else None


def known_of(folder: Path) -> dict[str, Any]:
    """What stands there of evals, of whatever weights; nothing where there is none, or it is damaged."""
    record = _there(folder)
    return dict(record["evals"]) if record else {}


def _before(folder: Path, networks: Mapping[str, str]) -> dict[str, Any]:
    """What stood there of these very weights; nothing where there is none, or it is damaged."""
    record = _there(folder)
    return record if record and record["networks"] == dict(networks) else {}


def _there(folder: Path) -> dict[str, Any]:
    """A disk that does not answer is neither none nor damage: what other evals had found would be lost."""
    try:
        record, _ = unsealed((folder / FILE).read_bytes())
        return record if "networks" in record and isinstance(record["evals"], dict) else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _rows(folder: Path, asked: Asked, by_who: Mapping[str, Any]) -> str | None:
    some = next(iter(by_who.values()))
    kept = isinstance(some, list) and all(isinstance(one, Answers) for one in some)
    return f"evaluation/{stem_of(folder / 'evaluation', asked.name)}.arrow" if kept else None
