"""store verify over a store that grew, one with an addition and one in a bucket: it names the file of each of 200 bits
that are flipped."""

import random

import fsspec
import pyarrow as pa
import pytest

from distillkit.errors import DistillkitError
from distillkit.store.bucket.remote import local
from distillkit.store.upkeep.verify import verify
from tests.faults import extraction_jobs
from tests.faults.extraction_jobs import STORE, Added, Appended

FLIPS = 200
URL = "memory://bucket/deep/images"


class Folder:
    """A store on a disk."""

    def __init__(self, path):
        self.path = path

    def names(self):
        """Of the files that are the store's: logs and what its writer alone reads are no part of it, ledgers are."""
        paths = (path for path in sorted(self.path.rglob("*")) if path.is_file())
        return [
            path.relative_to(self.path).as_posix()
            for path in paths
            if path.parent.name == "failures"
            or (path.suffix not in (".jsonl", ".lock") and path.parent.name != "stamps")
        ]

    def read(self, name):
        return (self.path / name).read_bytes()

    def write(self, name, content):
        (self.path / name).write_bytes(content)

    def problems(self):
        return verify(self.path)


class Bucket(Folder):
    """The same files behind a URL."""

    def __init__(self, path):
        super().__init__(path)
        self.bucket = fsspec.filesystem("memory")
        for file in path.rglob("*"):
            if file.is_file():
                self.write(file.relative_to(path).as_posix(), file.read_bytes())

    def read(self, name):
        return self.bucket.cat_file(f"{URL}/{name}")

    def write(self, name, content):
        self.bucket.pipe_file(f"{URL}/{name}", content)

    def problems(self):
        return verify(local(URL))


def made(job, folder):
    """Some of its images cannot be decoded: the store has ledgers."""
    folder.mkdir()
    whole, job.fields = extraction_jobs.squares, ("image", "text")

    def damaged(place, count):
        found = whole(place, count)
        for number in (3, 70):
            (place / f"images/{number:03d}.png").write_bytes(b"no picture")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction_jobs, "squares", damaged)
        job.prepare(folder)
    job.run(folder, lambda what, kept: None)
    return folder / STORE


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    return made(Appended(), tmp_path_factory.mktemp("grown") / "disk")


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    return made(Added(), tmp_path_factory.mktemp("added") / "disk")


def same_table(one, other):
    """Arrow leaves room between its columns, where a bit is nobody's: the table is the same, and what it is called."""
    tables = [pa.ipc.open_file(pa.py_buffer(content)).read_all() for content in (one, other)]
    return tables[0].equals(tables[1], check_metadata=True)


def test_ledgers_are_among_the_files(grown, added):
    for store in (grown, added):
        assert any("failures/" in name for name in Folder(store).names())


def missed(store):
    """Name, place and surroundings of each flipped bit that nobody told of and that changed what is read."""
    assert store.problems() == []
    names, chance, found = store.names(), random.Random(0), []
    sizes = [len(store.read(name)) for name in names]
    for name in chance.choices(names, sizes, k=FLIPS // 2) + chance.choices(names, k=FLIPS // 2):
        whole = store.read(name)
        place, bit = chance.randrange(len(whole)), chance.randrange(8)
        flipped = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
        store.write(name, flipped)
        try:
            lines = store.problems()
            # A checksum in a manifest that is another names the file which is not like it.
            named = any(name in line for line in lines) or (bool(lines) and name.endswith("manifest.json"))
            named = named or (name.endswith("plan.arrow") and same_table(whole, flipped))
        except DistillkitError as error:
            named = name.rpartition("/")[0] in str(error)
        if not named:
            found.append((name, place, bit, whole[max(0, place - 60) : place + 20]))
        store.write(name, whole)
    assert store.problems() == []
    return found


def check(store):
    found = missed(store)
    assert found == []


def test_every_flipped_bit_of_a_store_that_grew_is_named(grown):
    check(Folder(grown))


def test_every_flipped_bit_of_a_store_with_an_addition_is_named(added):
    check(Folder(added))


def test_every_flipped_bit_of_a_store_in_a_bucket_is_named(grown, added, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    for path in (grown, added):
        store = Bucket(path)
        check(store)
        store.bucket.rm(URL, recursive=True)
