"""What was reported done, written down outside of the world; and what every row of a store must be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from distillkit.store.format.field import Field
from distillkit.store.format.plan import SCHEMA

SHARD, WIDTH = 64, 16
FIELDS = {"toy/image": Field(teacher="toy", shape=[WIDTH], dtype="float32")}
_GREY = 17  # every so manieth row is damaged
Bytes = Callable[[str], bytes]


@cache
def plan(rows: int) -> pa.Table:
    """The rows of a corpus: of one that is smaller the first of them."""
    names = [f"k{number:04d}" for number in range(rows)]
    return pa.table([names, [f"{name}.png" for name in names], [None] * rows, [None] * rows], SCHEMA)


def identity(which: int) -> dict[str, Any]:
    """Several teachers that say other things of the same rows."""
    return {
        "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": 0},
        "teachers": {"toy": {"model": f"toy {which}", "weights_sha256": f"{which:064d}"}},
        "views": {"count": 1},
    }


def which(identity: Mapping[str, Any]) -> int:
    return int(identity["teachers"]["toy"]["weights_sha256"])


def said(which: int, first: int, stop: int) -> np.ndarray:
    """What that teacher says of rows first .. stop-1."""
    return np.add.outer(1000.0 * which + np.arange(first, stop), np.arange(WIDTH) / 32).astype(np.float32)


def failed(first: int, stop: int) -> list[tuple[int, str, str]]:
    return [(row - first, "decode", "grey") for row in range(first, stop) if row % _GREY == 3]


@dataclass
class Ledger:
    """Which shards of which identity were reported as committed, and which were computed how often."""

    least: int
    done: dict[int, set[int]] = field(default_factory=dict)
    computed: list[tuple[int, int]] = field(default_factory=list)

    def rows(self, which: int) -> int:
        """How many rows the corpus of an identity has."""
        return self.least + 30 * (which - 1)

    def reported(self, which: int, shard: int) -> None:
        self.done.setdefault(which, set()).add(shard)

    def begun(self, read: Bytes) -> int:
        """The identity of the store that lies there, or is about to; the first where none is."""
        for name in ("plan.json", "begins.json"):
            with suppress(FileNotFoundError):
                return which(json.loads(read(name)))
        return 1

    def check(self, read: Bytes, complete: bool) -> tuple[int, set[int]]:
        """A store that is complete, or was left: identity, and the shards that are committed and as they must be.

        AssertionError for a row that is there twice, is lost, or is of another identity.
        """
        of, found = which(json.loads(read("plan.json"))), set[int]()
        rows = self.rows(of)
        beside = pa.ipc.open_file(pa.BufferReader(read("plan.arrow"))).read_all()
        assert beside.equals(plan(rows)), f"the plan is not that of identity {of}"
        assert json.loads(read("toy/image/zarr.json"))["shape"] == [rows, WIDTH], f"zarr.json of another than {of}"
        for shard in range(-(-rows // SHARD)):
            try:
                record = json.loads(read(f"commits/{shard:05d}.json"))
            except FileNotFoundError:
                assert not complete, f"shard {shard} is not committed in a complete store"
                continue
            self._check_shard(read, of, shard, record)
            found.add(shard)
        if complete:
            manifest = json.loads(read("manifest.json"))
            assert which(manifest) == of, "the manifest is of another identity than the plan"
            for shard, record in enumerate(manifest["shards"]):
                self._check_shard(read, of, shard, record)
            assert len(manifest["shards"]) == len(found) and manifest["rows"] == rows
        return of, found

    def _check_shard(self, read: Bytes, of: int, shard: int, record: dict[str, Any]) -> None:
        first, stop = shard * SHARD, min(self.rows(of), (shard + 1) * SHARD)
        for name, want in record["files"].items():
            found = hashlib.sha256(read(name)).hexdigest()
            assert found == want["sha256"], f"{name} is not what its commit says"
        index = pa.ipc.open_file(pa.BufferReader(read(f"index/{shard:05d}.arrow"))).read_all()
        assert index["key"].to_pylist() == [f"k{row:04d}" for row in range(first, stop)], f"keys of shard {shard}"
        ok = np.array(index["ok"])
        want = said(of, first, stop)
        want[~ok] = np.nan
        assert ok.sum() == stop - first - len(failed(first, stop)), f"shard {shard}: other rows are ok"
        have = np.frombuffer(read(f"toy/image/c/{shard}/0"), np.float32, (stop - first) * WIDTH).reshape(-1, WIDTH)
        assert np.array_equal(have, want, equal_nan=True), f"rows of shard {shard} are not of identity {of}"
