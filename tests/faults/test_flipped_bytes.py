"""store verify over a store that grew and has an addition: it names the file of each of 200 bits that are flipped."""

import random

import pytest

from distillkit.errors import DistillkitError
from distillkit.extract import extract
from distillkit.store.upkeep.verify import verify
from tests.faults.extraction_jobs import STORE, Appended

FLIPS = 200
# Logs are no part of a store. What is told nowhere else cannot be checked: a name, its makers, how large batches were.
# And Arrow leaves room between its columns.
UNSAID = ("manifest.json", "plan.json", "plan.arrow")


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder, job = tmp_path_factory.mktemp("grown") / "disk", Appended()
    folder.mkdir()
    job.prepare(folder)
    job.run(folder, lambda what, kept: None)
    extract(job.asked(folder, teachers={"one": 1.0, "two": 2.0}), lambda line: None)
    return folder / STORE


def test_every_flipped_bit_is_named(grown):
    assert verify(grown) == []
    files = [path for path in sorted(grown.rglob("*")) if path.is_file() and path.suffix not in (".jsonl", ".lock")]
    sizes, chance, missed = [path.stat().st_size for path in files], random.Random(0), []
    for path in chance.choices(files, sizes, k=FLIPS // 2) + chance.choices(files, k=FLIPS // 2):
        whole = path.read_bytes()
        place, bit = chance.randrange(len(whole)), chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        try:
            named = any(str(path) in line for line in verify(grown))
        except DistillkitError as error:
            named = str(path.parent) in str(error)
        if not named:
            missed.append((path.relative_to(grown).as_posix(), place, bit, whole[max(0, place - 60) : place + 20]))
        path.write_bytes(whole)
    assert verify(grown) == []
    unexplained = [one for one in missed if not one[0].endswith(UNSAID)]
    assert not unexplained, unexplained
    assert len(missed) <= FLIPS // 20, missed
