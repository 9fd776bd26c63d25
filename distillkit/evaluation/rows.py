"""One table of an evaluation on disk: a row an item, a column for each thing that each network answered.

evaluation/NAME.arrow          key, target, group; then teacher.rank, teacher.margin, teacher.best, student.rank, ...
evaluation/NAME.names.arrow    what target and best are numbers of: texts, classes or images

Any reader of Arrow opens both. What the rows were made of, and the measures, are in the schema's metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from distillkit.errors import StoreError
from distillkit.evals._answers import Answers, How, Measure
from distillkit.runfolder import LARGEST
from distillkit.system.arrow import table_of
from distillkit.system.atomic import atomic_file, parsed_json

TABLES = "tables"  # of what the main table of an eval was made of: which other tables it has
_META = b"distillkit"
_SEAL = "values"  # sha256 of the columns; absent from rows of older versions
_NAMES = ".names.arrow"


@dataclass(frozen=True)
class Rows:
    """What several networks answered to the same items. `made_of`: the eval with its knobs, and its stores' digests.

    `networks`: whose answers these are, teacher, student or baseline, and which weights gave them.
    """

    name: str
    made_of: dict[str, Any]
    networks: dict[str, str]
    answers: dict[str, Answers]

    @property
    def table(self) -> str:
        return next(iter(self.answers.values())).table

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked: `made_of` without what is about files."""
        return {key: value for key, value in self.made_of.items() if key != TABLES}


def write_rows(path: Path, rows: Rows) -> None:
    """Write both files, the names first: whole, or not at all."""
    first = next(iter(rows.answers.values()))
    columns: dict[str, Any] = {"key": pa.array(first.key, pa.string())}
    if first.target is not None:
        columns["target"] = pa.array(first.target, pa.int32())
    if first.group is not None:
        columns["group"] = pa.array(first.group, pa.int64())
    for who, one in rows.answers.items():
        if list(one.key) != list(first.key):
            raise StoreError(
                f"{rows.name}: {who} was asked about other items; an eval must ask every network about the same"
            )
        columns |= {f"{who}.{name}": _column(column) for name, column in one.columns.items()}
        if one.best is not None:
            columns[f"{who}.best"] = _column(one.best.astype(np.int32))
    meta = {
        "name": rows.name,
        "table": first.table,
        "made_of": rows.made_of,
        "networks": rows.networks,
        "facts": {who: one.facts for who, one in rows.answers.items()},
        "measures": {who: [asdict(measure) for measure in one.measures] for who, one in rows.answers.items()},
    }
    if first.names is not None:
        meta["names"] = _sha256(first.names)
        _write(
            path.with_suffix("").with_name(path.stem + _NAMES), pa.table({"name": pa.array(first.names, pa.string())})
        )
    table = pa.table(columns)
    said = json.dumps(meta | {_SEAL: _values_sha256(table)}, sort_keys=True, ensure_ascii=False).encode()
    _write(path, table.replace_schema_metadata({_META: said}))


def _column(values: np.ndarray) -> pa.Array:
    """A value an item, or as many as there are classes."""
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _values(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy()
    found: np.ndarray = column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)
    return found


def _sha256(names: Sequence[str]) -> str:
    made = hashlib.sha256()
    for name in names:
        made.update(f"{name}\n".encode())
    return made.hexdigest()


def _values_sha256(table: pa.Table) -> str:
    """Of every value under its name."""
    made = hashlib.sha256()
    for name in table.column_names:
        column = table[name]
        texts = pa.types.is_string(column.type)
        values = "\n".join(column.to_pylist()).encode() if texts else np.ascontiguousarray(_values(column)).tobytes()
        made.update(f"{name} {len(values)}\n".encode() + values)
    return made.hexdigest()


def _write(path: Path, table: pa.Table) -> None:
    with atomic_file(path) as file, pa.ipc.new_file(file, table.schema) as arrow:
        arrow.write_table(table)


def is_rows(path: Path) -> bool:
    """Whether a file of the folder is a table of rows, not of names."""
    return path.suffix == ".arrow" and not path.name.endswith(_NAMES)


def name_in(path: Path) -> str:
    """Of which eval its rows are; OSError, ArrowException, KeyError or ValueError where it is no such file."""
    return str(parsed_json((_read(path).schema.metadata or {})[_META])["name"])


def read_rows(path: Path) -> Rows:
    """StoreError where it is no such file, or damaged."""
    try:
        table = _read(path)
        meta = parsed_json((table.schema.metadata or {})[_META])
        if meta.get(_SEAL) not in (None, _values_sha256(table)):
            raise ValueError("not as it was written")
        names = path.with_name(path.stem + _NAMES)
        listed = _read(names)["name"].to_pylist() if "names" in meta else None
        if listed is not None and _sha256(listed) != meta["names"]:
            raise ValueError(f"{names.name} is that of other rows")
        shared = {
            "key": table["key"].to_pylist(),
            "names": listed,
            "table": meta["table"],
            **{name: table[name].to_numpy() if name in table.column_names else None for name in ("target", "group")},
        }
        answers = {who: _answers(table, who, meta, shared) for who in meta["networks"]}
        return Rows(meta["name"], meta["made_of"], meta["networks"], answers)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        told = f"{path}: damaged ({error!r:.80}); delete it, and distillkit evaluate makes it again"
        raise StoreError(told) from error


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return table_of(file)


def _too_large(column: np.ndarray) -> bool:
    return bool(np.any(np.isfinite(column) & (np.abs(column) > LARGEST)))


def _answers(table: pa.Table, who: str, meta: Mapping[str, Any], shared: dict[str, Any]) -> Answers:
    columns = [name for name in table.column_names if name.startswith(f"{who}.") and not name.endswith(".best")]
    best = _values(table[f"{who}.best"]) if f"{who}.best" in table.column_names else None
    values = {name.removeprefix(f"{who}."): _values(table[name]) for name in columns}
    measures = tuple(Measure(**one) for one in meta["measures"][who])
    if lacking := {one for measure in measures for one in (measure.column, measure.over)} - values.keys() - {None}:
        raise ValueError(f"it has no column {who}.{min(map(str, lacking))}")
    if strange := [measure.how for measure in measures if measure.how not in get_args(How)]:
        raise ValueError(f"no number is made as {strange[0]!r}")
    if strange := [name for name, column in values.items() if _too_large(column)]:
        raise ValueError(f"{who}.{strange[0]} holds a number that no network says")
    return Answers(
        columns=values,
        measures=measures,
        best=best,
        facts=meta["facts"][who],
        **shared,
    )
