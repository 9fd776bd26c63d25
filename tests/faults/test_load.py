"""Loads: readers beside writers of one store, a million files in a folder, a store of a hundred thousand shards."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from distillkit.engine.append import append
from distillkit.errors import StoreError
from distillkit.extract import extract
from distillkit.mine import mine_here
from distillkit.recipe import MineRecipe
from distillkit.store.format import layout
from distillkit.store.format.field import Field
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from tests.faults.world import WIDTH, recipe, squares

pytestmark = pytest.mark.slow

READERS, SIZES = 16, (150, 250, 350, 450)
FILES, SECONDS, MEMORY = 1_000_000, 60, 2**30
SHARDS = 100_000


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def expected(rows):
    """What the toy teacher says of texts such as "7 of them": the sum of their first 8 bytes, 1 to 32 times."""
    sums = [sum(f"{row} of them".encode()[:8]) for row in range(rows)]
    return np.outer(sums, np.arange(1, WIDTH + 1)).astype(np.float16)


def read_on(store, stop, said):
    """In a process: open, read everything, compare, until `stop` is set; tells how often, and what was wrong."""
    seen, wrong = dict.fromkeys(SIZES, 0), []
    while not stop.is_set():
        try:
            opened = FeatureStore(store)
            rows = opened.read("one/text", np.arange(len(opened))).numpy()
            keys = opened.values("key", np.arange(len(opened)))
        except StoreError as error:
            # Between two renames the place is empty; who had opened the old store is told that it is another one now.
            if "no complete feature store" not in str(error) and "open it again" not in str(error):
                wrong.append(str(error))
            continue
        seen[len(opened)] = seen.get(len(opened), 0) + 1
        if not (rows == expected(len(opened))).all() or keys != [f"images/{n:03d}.png" for n in range(len(opened))]:
            wrong.append(f"other bytes in {len(opened)} rows")
    said.put((seen, wrong))


def mine_on(store, texts, stop, said):
    """In a process: mine neighbours of whatever rows the store has, as long as it grows; then once in peace."""
    done, refused, last = 0, [], False
    while not last:
        last = stop.is_set()
        asked = {"queries": str(store), "corpus": str(texts), "k": 4, "rows_per_shard": 1024}
        try:
            mine_here(MineRecipe(**asked, field="text", index="exact"), 1, lambda line: None)
            done += 1
        except (StoreError, OSError) as error:
            refused.append(f"{type(error).__name__}: {error}")
    said.put((done, refused))


def test_one_store_is_read_by_sixteen_while_another_appends_and_a_third_mines(tmp_path):
    place, corpus = tmp_path / "recipe.toml", squares(tmp_path / "corpus", SIZES[0])
    place.write_text(recipe(tmp_path / "out", corpus, {"one": 1.0}, ["one/text"]))
    store, fork = tmp_path / "out/images", multiprocessing.get_context("fork")
    extract(place, lambda line: None)
    extract(place, lambda line: None, overrides=[f'out="{tmp_path}/texts"'])
    stop, said, mined = fork.Event(), fork.Queue(), fork.Queue()
    readers = [fork.Process(target=read_on, args=(store, stop, said)) for _ in range(READERS)]
    miner = fork.Process(target=mine_on, args=(store, tmp_path / "texts/images", stop, mined))
    for process in (*readers, miner):
        process.start()
    try:
        for size in SIZES[1:]:
            time.sleep(3)
            squares(corpus, size)
            extract(place, lambda line: None, instead=append)
        time.sleep(3)
    finally:
        stop.set()
    answers = [said.get(timeout=120) for _ in readers]
    done, refused = mined.get(timeout=120)
    for process in (*readers, miner):
        process.join(60)
    assert [wrong for _, wrong in answers if wrong] == []
    seen = {size: sum(one.get(size, 0) for one, _ in answers) for size in SIZES}
    print(f"read {seen}, mined {done} times, refused {refused}")
    assert set().union(*(one for one, _ in answers)) == set(SIZES) and all(seen.values())
    assert done and verify(store) == [] and len(FeatureStore(store, uses=["neighbours"]).ok_rows) == SIZES[-1]


def in_a_process(code, *words):
    """What a Python process prints as JSON."""
    said = subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True, capture_output=True, text=True)
    return json.loads(said.stdout.splitlines()[-1])


PLAN = """
import json, resource, sys, time
from pathlib import Path
from distillkit.engine.planning import planned
from distillkit.recipe import Component, Corpus
started = time.perf_counter()
corpus = Corpus(name="many", source=Component(kind="folder", root=sys.argv[1]), fields=["image"])
plan = planned(corpus, Path(sys.argv[2]), lambda line: None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"rows": plan.rows.num_rows, "seconds": time.perf_counter() - started, "peak": peak}))
"""


def test_a_million_tiny_files_in_one_folder_are_planned_in_a_minute_and_a_gigabyte(tmp_path):
    """Names are what costs: the files are one picture under many names, as many as a file system lets it have."""
    (tmp_path / "many").mkdir()
    first = None
    for number in range(FILES):
        path = tmp_path / f"many/{number:07d}.png"
        if number % 30_000 == 0:
            squares(tmp_path / "one", 1)
            first = (tmp_path / "one/images/000.png").rename(path)
        else:
            os.link(first, path)
    told = in_a_process(PLAN, tmp_path / "many", tmp_path / "store")
    shutil.rmtree(tmp_path / "many")
    print(told)
    assert told["rows"] == FILES and told["seconds"] < SECONDS and told["peak"] < MEMORY


def manifest(shards):
    """Of a store of so many shards of 64 rows."""
    field, sha = Field(teacher="toy", shape=[32], dtype="float16"), "0" * 64
    size = layout.shard_size(64, 64, field)
    return {
        "format": "distillkit",
        "version": 2,
        "name": "many",
        "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": 0, "plan": sha},
        "teachers": {"toy": {}},
        "fields": {"toy/image": field.model_dump()},
        "views": {"count": 1},
        "rows": 64 * shards,
        "rows_per_shard": 64,
        "skipped": 0,
        "shards": [
            {
                "rows": 64,
                "ok": 64,
                "files": {
                    layout.shard_path("toy/image", number, field): {"bytes": size, "sha256": sha},
                    layout.index_path(number): {"bytes": 1000, "sha256": sha},
                },
            }
            for number in range(shards)
        ],
        "made_with": {},
    }


def lay_shards(store, told):
    """Files of the field, which are few under many names, as many as a file system lets one have."""
    (size,) = {file["bytes"] for shard in told["shards"] for name, file in shard["files"].items() if "toy/" in name}
    first = None
    for number in range(len(told["shards"])):
        path = store / layout.shard_path("toy/image", number, Field(**told["fields"]["toy/image"]))
        path.parent.mkdir(parents=True)
        if number % 30_000 == 0:
            path.write_bytes(number.to_bytes(4, "little") * (size // 4))
            first = path
        else:
            os.link(first, path)


def test_of_a_hundred_thousand_shards_any_row_is_read(tmp_path):
    """More files than a process may map."""
    told = manifest(SHARDS)
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    lay_shards(tmp_path, told)
    rows = np.array([0, 3, 64 * 30_000, 64 * 70_000 + 5, 64 * SHARDS - 1])
    read = FeatureStore(tmp_path).read("toy/image", rows, raw=True)
    shutil.rmtree(tmp_path / "toy")
    said = np.asarray(read).reshape(len(rows), -1).view(np.uint8).view("<u4")[:, 0]
    assert said.tolist() == [0, 0, 30_000, 60_000, 90_000]


def test_a_store_of_a_hundred_thousand_shards_opens_within_a_second(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest(SHARDS)))
    took = []  # seconds of the CPU, which other processes cannot take, and on the clock
    for _ in range(3):
        cpu, clock = time.process_time(), time.perf_counter()
        assert len(FeatureStore(tmp_path)) == 64 * SHARDS
        took.append((time.process_time() - cpu, time.perf_counter() - clock))
    told = "opened in " + ", ".join(f"{cpu:.2f} s of the CPU ({clock:.2f} s on the clock)" for cpu, clock in took)
    print(told)
    assert min(took)[0] < 1.0, told
