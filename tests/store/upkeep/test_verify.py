"""verify finds every kind of damage and names the file."""

import json
import shutil

import pyarrow as pa
import pytest

from distillkit.errors import StoreError
from distillkit.store.upkeep.verify import verify
from distillkit.system.atomic import as_json

FILES = ("toy/image/c/0/0", "toy/patches/c/2/0/0", "index/00001.arrow", "failures/00002.jsonl")
METADATA = ("zarr.json", "toy/zarr.json", "toy/text/zarr.json", "plan.arrow")


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def problem(toy, name):
    (line,) = verify(toy.path)
    assert line.startswith(f"{toy.path / name}: ")
    return line


def test_a_whole_store_has_no_problems(toy):
    assert verify(toy.path) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, 0.999])
def test_one_flipped_bit(toy, name, place):
    flip(toy.path / name, int(place * (toy.path / name).stat().st_size))
    assert "sha256" in problem(toy, name) and "the manifest says" in problem(toy, name)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file(toy, name):
    raw = (toy.path / name).read_bytes()
    (toy.path / name).write_bytes(raw[:-1])
    assert f"{len(raw) - 1} bytes, the manifest says {len(raw)}" in problem(toy, name)


@pytest.mark.parametrize("name", [*FILES, *METADATA])
def test_a_missing_file(toy, name):
    (toy.path / name).unlink()
    assert "missing" in problem(toy, name)


def test_two_swapped_shards(toy):
    one, other = toy.path / "toy/image/c/0/0", toy.path / "toy/image/c/1/0"
    shutil.move(one, toy.path / "aside")
    shutil.move(other, one)
    shutil.move(toy.path / "aside", other)
    assert [line.split(": ")[0] for line in verify(toy.path)] == [str(one), str(other)]


@pytest.mark.parametrize("name", METADATA)
def test_damaged_metadata_and_plan(toy, name):
    raw = (toy.path / name).read_bytes()
    # In plan.arrow the middle of the file is among the texts and labels.
    changed = raw.replace(b"3", b"4", 1) if name.endswith("json") else raw.replace(b"text 7", b"text 8", 1)
    assert changed != raw
    (toy.path / name).write_bytes(changed)
    assert "manifest" in problem(toy, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.rename_columns(["key", "image", "tex4", "label"]),
        lambda plan: plan.set_column(2, "text", plan["label"]),
    ],
    ids=["name", "type"],
)
def test_a_plan_with_other_columns_is_named(toy, change):
    """A bit of a column's name may flip."""
    path = toy.path / "plan.arrow"
    plan = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
    table = change(plan)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as arrow:
        arrow.write_table(table)
    assert [line.split(": ")[0] for line in verify(toy.path)] == [str(path)]


def test_every_problem_is_listed(toy):
    for name in FILES:
        flip(toy.path / name, 0)
    assert len(verify(toy.path)) == len(FILES)


def test_an_incomplete_store_is_no_store(toy):
    (toy.path / "manifest.json").unlink()
    with pytest.raises(StoreError, match="has not finished"):
        verify(toy.path)


@pytest.mark.parametrize("name", ["manifest.json", "plan.json"])
def test_what_the_manifest_and_the_plan_alone_tell_is_checked(toy, name):
    path = toy.path / name
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'{\n  "', b'{\n  "a": 1,\n  "', 1) if name == "plan.json" else _made_with(raw))
    (line,) = (line for line in verify(toy.path) if "checksums.json" in line)
    assert line == f"{path}: not what {toy.path / 'checksums.json'} says of it"


def _made_with(raw):
    """Another version of what made it."""
    changed = json.loads(raw)
    changed["made_with"]["toy"] = "2"
    return as_json(changed)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"manifest.json": {"bytes": "1"}}'])
def test_damaged_checksums_are_told_and_can_be_deleted(toy, content):
    (toy.path / "checksums.json").write_bytes(content)
    assert "delete it" in problem(toy, "checksums.json")
    (toy.path / "checksums.json").unlink()  # as in a store that is older than they
    assert verify(toy.path) == []


def test_a_store_that_is_mended_has_the_checksums_of_its_new_manifest(toy):
    (toy.path / "manifest.json").unlink()
    writer = toy.writer()
    writer.begin()
    writer.finish({"toy": "2"})
    assert verify(toy.path) == []
