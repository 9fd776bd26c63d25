"""A table whose offsets point anywhere, or whose texts are no UTF-8, is refused before anybody follows them."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distillkit.engine.classes import _by_keys
from distillkit.errors import NotNow, SourceError, StoreError
from distillkit.evaluation.rows import read_rows, write_rows
from distillkit.store.format.plan import plan_at
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system.arrow import table_at
from tests.evaluation.test_rows import rows  # noqa: F401
from tests.sources.test_datasets import example
from tests.store.conftest import toy_at

ROOT = Path(__file__).parents[2]


def pointing_anywhere(path, column):
    """The offset of the second text of a column is far beyond the file now, as a flipped byte or an enemy has it."""
    with pa.OSFile(str(path)) as file:
        chunk = _file(file)[column].chunks[0]
    offsets = chunk.buffers()[1].to_pybytes()[: 4 * (len(chunk) + 1)]
    content = path.read_bytes()
    assert content.count(offsets) == 1 and len(chunk) > 2
    changed = offsets[:4] + np.int32(2**30).tobytes() + offsets[8:]
    path.write_bytes(content.replace(offsets, changed))


def _file(file):
    try:
        return pa.ipc.open_file(file).read_all()
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_stream(file).read_all()


def written(path, table):
    with pa.ipc.new_file(str(path), table.schema) as file:
        file.write_table(table)
    return path


@pytest.fixture
def toy(tmp_path):
    return toy_at(tmp_path / "store").write()


@pytest.fixture
def table():
    return pa.table({"key": [f"a key no. {n}" for n in range(9)]})


def test_a_table_comes_back(table, tmp_path):
    assert table_at(written(tmp_path / "x.arrow", table)).equals(table)


def test_offsets_and_texts_are_looked_at(table, tmp_path):
    path = written(tmp_path / "x.arrow", table)
    whole = path.read_bytes()
    pointing_anywhere(path, "key")
    with pytest.raises(pa.ArrowInvalid, match=r"[Oo]ffset"):
        table_at(path)
    path.write_bytes(whole.replace(b"no. 3", b"no\xff 3"))
    with pytest.raises(pa.ArrowInvalid, match="UTF8"):
        table_at(path)


FULL = pa.field("key", pa.string(), nullable=False)
ASKED = pa.schema([FULL, ("label", pa.int64())])


@pytest.mark.parametrize(
    "table",
    [
        pa.table([["a", "b"], [1, None]], pa.schema([FULL, ("label", pa.int64())])),
        pa.table(
            [[1, 2], ["a", "b"]], pa.schema([pa.field("label", pa.int64(), nullable=False), ("key", pa.string())])
        ),
    ],
    ids=["as asked", "in another order"],
)
def test_tables_of_one_schema_go_together_whatever_they_say_of_nulls(table, tmp_path):
    other = pa.table({"key": ["c"], "label": [3]})
    tables = [table_at(written(tmp_path / f"{n}.arrow", one), ASKED) for n, one in enumerate([table, other])]
    assert pa.concat_tables(tables)["key"].to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"key": ["a"]}),
        pa.table({"key": ["a"], "label": [1], "more": [1]}),
        pa.table({"key": ["a"], "label": ["1"]}),
        pa.table({"key": pa.array(["a"]).dictionary_encode(), "label": [1]}),
        pa.Table.from_arrays([pa.array(["a"]), pa.array(["a"]), pa.array([1])], names=["key", "key", "label"]),
        pa.table({"key": ["a", None], "label": [1, 2]}),
    ],
    ids=["one lacks", "one more", "a text for a number", "a dictionary", "twice", "no key"],
)
def test_any_other_is_refused(table, tmp_path):
    with pytest.raises(pa.ArrowInvalid):
        table_at(written(tmp_path / "x.arrow", table), ASKED)


OTHER = {pa.string(): pa.large_string(), pa.int64(): pa.int32()}


def retyped(path, column, change):
    """A table of a store as another writer may have it: the same rows, another schema."""
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    at = table.schema.get_field_index(column)
    written(path, table.cast(table.schema.set(at, change(table.schema.field(at)))))


@pytest.mark.parametrize("column", ["key", "image", "text", "label"])
def test_a_column_of_another_type_is_damage(toy, column):
    retyped(toy.path / "plan.arrow", column, lambda field: field.with_type(OTHER[field.type]))
    assert any("plan.arrow" in line for line in verify(toy.path))
    assert plan_at(toy.path) is None and _by_keys(toy.path) == {}


def test_a_store_tells_it(toy):
    pointing_anywhere(toy.path / "plan.arrow", "text")
    assert any("plan.arrow" in line for line in verify(toy.path))
    assert plan_at(toy.path) is None and _by_keys(toy.path) == {}
    pointing_anywhere(toy.path / "index/00001.arrow", "key")
    with pytest.raises(StoreError, match=r"index/00001.arrow is damaged; run: distillkit store verify"):
        _ = FeatureStore(toy.path).index


def test_answers_that_were_kept_tell_it(rows, tmp_path):  # noqa: F811
    write_rows(tmp_path / "e.arrow", rows)
    pointing_anywhere(tmp_path / "e.arrow", "key")
    with pytest.raises(StoreError, match=r"e.arrow: damaged \(.*\); delete it, and distillkit evaluate makes it again"):
        read_rows(tmp_path / "e.arrow")


def test_a_saved_dataset_tells_it(tmp_path):
    pytest.importorskip("datasets")
    from distillkit.sources.datasets import Datasets

    knobs = example(tmp_path)
    assert len(list(Datasets(**knobs))) == 2
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    content = arrow.read_bytes()
    assert content.count("文".encode()) == 1
    arrow.write_bytes(content.replace("文".encode(), b"\xff\xff\xff"))
    with pytest.raises(SourceError, match=r"saved \[train\]: cannot be opened \(.*UTF8.*\); mend source.root"):
        list(Datasets(**knobs))


def test_nobody_opens_such_a_file_without_it():
    """But plan.py what it has just written itself."""
    opens = re.compile(r"ipc\.(open_file|open_stream|read_\w+|RecordBatch\w+Reader)|feather\.")
    files = [path for path in ROOT.glob("distillkit/**/*.py") if opens.search(path.read_text("utf-8"))]
    found = {path.relative_to(ROOT).as_posix() for path in files}
    assert found == {"distillkit/system/arrow.py", "distillkit/store/format/plan.py"}


def test_no_file_is_damaged_where_no_thread_can_be_started(tmp_path, monkeypatch):
    """Arrow reads with threads; where a user may have no more of them, verify told whole files as ones to delete."""
    store = toy_at(tmp_path / "store").write().path

    def refused(*_):
        raise pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable")

    monkeypatch.setattr(pa.ipc, "open_file", refused)
    for read in (verify, plan_at, lambda path: FeatureStore(path).index):
        with pytest.raises(NotNow, match=r"no thread can be started\), for no fault of its own; raise `ulimit -u`"):
            read(store)
