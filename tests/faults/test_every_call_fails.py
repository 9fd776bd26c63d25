"""Every call of the system fails: one line that names the file, nothing lost, and the next run goes on as if not."""

import errno
import os
import random
from pathlib import Path

import pytest

from distillkit.engine import planning
from distillkit.evaluation import result
from distillkit.store.format.classes import classes_of
from tests.faults import rich_jobs, training_jobs
from tests.faults.events import Synced
from tests.faults.extraction_jobs import Extracted, MergedByTwo
from tests.faults.failing import SLICES, name_of
from tests.faults.failures import Trial, names
from tests.faults.jobs import JOBS

SOME, MANY = 6, 300  # faults of each job in the default run, and in the slow one; `python -m tests.faults` has all
SYNCS = 1
named = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
# Two threads that wait for one folder: the system tells one of them alone that it failed.
alone = pytest.mark.parametrize("job", [job for job in JOBS if job is not MergedByTwo], ids=lambda job: job.__name__)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Each job is counted once."""
    made = {}

    def counted(job):
        if job not in made:
            made[job] = Trial.of(job(), tmp_path_factory.mktemp("failing") / "disk")
        return made[job]

    return counted


@named
def test_some_calls_fail(job, trials):
    trial = trials(job)
    assert trial.counted["open"] and trial.counted["read"] and trial.counted["fsync"]
    for fault in trial.some(SOME):
        trial.check(fault)


@pytest.mark.long
def test_an_extraction_whose_locks_are_refused_leaves_shards_to_others_and_says_so(trials):
    """The job knows that line by its words, which changed; of the faults above hardly one is of these."""
    trial = trials(Extracted)
    refused = [fault for fault in trial.faults() if fault.kind == "lock" and fault.error == errno.EACCES]
    assert len(refused) > 20
    for fault in refused:
        trial.check(fault)


@named
def test_the_seeds_together_have_every_fault_once(job, trials):
    trial = trials(job)
    every = [fault for seed in range(SLICES) for fault in trial.slice(seed)]
    assert len(every) == len(set(every)) and set(every) == set(trial.faults())


# What the issue lists; a mmap knows neither a full disk nor a short answer, and Python asks again after most signals.
LISTED = {
    "open": "EIO ENOSPC EDQUOT EMFILE EACCES ESTALE",
    "read": "EIO ESTALE short",
    "write": "EIO ENOSPC EDQUOT ESTALE short",
    "fsync": "EIO ENOSPC EDQUOT ESTALE",
    "rename": "EIO ENOSPC EDQUOT EINTR EACCES ESTALE",
    "link": "EIO ENOSPC EDQUOT EINTR EACCES ESTALE",
    "unlink": "EIO EINTR EACCES ESTALE",
    "mkdir": "EIO ENOSPC EDQUOT EINTR EACCES ESTALE",
    "mmap": "EIO EINTR EACCES ESTALE ENOMEM ENODEV",
    "statvfs": "EIO EINTR EACCES ESTALE",
    "lock": "EIO EACCES ESTALE",
}


def test_every_kind_of_call_meets_every_error(trials):
    """Of some job at least; of what libraries ask by themselves as well, and of corpora and stores that are read."""
    met, libraries = set(), set()
    for job in JOBS:
        trial = trials(job)
        met |= {(fault.kind, name_of(fault.error)) for fault in trial.faults()}
        libraries |= trial.libraries
    assert met == {(kind, error) for kind, errors in LISTED.items() for error in errors.split()}
    assert libraries >= {"os.pread", "safetensors", "faiss", "libc"}  # fromfile reads what a killed run kept
    assert all(trials(job).counted["mmap"] for job in (*training_jobs.JOBS, *rich_jobs.JOBS))


@pytest.mark.parametrize(
    ("line", "is_named"),
    [
        ("error: {root}/disk/out/store/c/0: gone; mend it", True),
        ("error: {root}/disk/out/store: gone; mend it", True),
        ("error: {root}/disk/out/store/c/0/deeper: gone; mend it", True),
        ("error: {root}/disk/out/other: gone; mend it", False),
        ("error: {root}/disk/out/store/c/00: gone; mend it", False),
        ("error: {root}: gone; mend it", False),
        ("error: a file: gone; mend / it", False),
    ],
)
def test_a_line_names_what_failed(line, is_named):
    root = Path("/somewhere")
    places = (
        "store/c/0",
        ".store.0123abcd.partial/c/0",
        "store/c/0.partial",
        ".store.appending/.store.0123abcd.partial/c/0",
    )
    for place in places:
        assert names(line.format(root=root), [f"{root}/disk/out/{place}"], root) == is_named


@pytest.mark.slow
@named
def test_many_calls_fail(job, trials):
    trial = trials(job)
    for fault in trial.some(MANY):
        trial.check(fault)


def _interrupted(recording, how, count):
    fsyncs = sum(isinstance(event, Synced) for event in recording.events)
    for number in sorted(random.Random(0).sample(range(1, fsyncs + 1), min(fsyncs, count))):
        again = recording.interrupted(number, how)
        for disk in again.last(number)[:20]:
            again.check(disk)


@alone
def test_an_fsync_that_failed_is_not_believed_later(job, recordings):
    """After the next run, that ends well, a power cut takes nothing of what was said to be done."""
    _interrupted(recordings(job), "fails", SYNCS)


@alone
def test_what_a_killed_run_left_is_made_durable(job, recordings):
    """The next run finds it, believes it, and says that all is done: then the power is cut."""
    _interrupted(recordings(job), "killed", SYNCS)


@pytest.mark.slow
@alone
@pytest.mark.parametrize("how", ["fails", "killed"])
def test_whatever_fsync_is_interrupted(job, how, recordings):
    _interrupted(recordings(job), how, 1000)


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda folder: result._before(folder, {}), "evaluation.json"),
        (classes_of, "classes.json"),
        (planning._before, "plan.json"),
    ],
)
def test_a_disk_that_does_not_answer_is_no_absent_file(read, name, tmp_path, monkeypatch):
    """Who takes it for one goes on without what is there, and loses it."""
    assert not read(tmp_path)
    (tmp_path / name).write_bytes(b"damaged")
    assert not read(tmp_path)
    real = Path.read_bytes

    def failing(path):
        if path == tmp_path / name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match=name):
        read(tmp_path)
