"""Power cuts: every disk that may be left opens as absent, unfinished or whole, and the job goes on to equal bytes."""

import pytest

from distillkit.extract import extract
from tests.faults.check import Recording
from tests.faults.disks import live
from tests.faults.extraction_jobs import Appended, Extracted, Replaced
from tests.faults.jobs import JOBS
from tests.faults.sites import ELSEWHERE, PACKAGE, missed, sites

SOME = 12  # disks of each job in the default run
named = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)


@named
def test_the_recording_played_back_is_the_folder(job, recordings):
    recording = recordings(job)
    assert live(recording.before, recording.events) == recording.real
    assert len(recording.events) > 10


@named
def test_some_disks_are_gone_on_with(job, recordings):
    assert recordings(job).check_some(seed=0, count=SOME) > 5


@pytest.mark.parametrize("job", [Extracted, Appended, Replaced], ids=lambda job: job.__name__)
def test_a_store_of_another_identity_is_seen_at_once(job, tmp_path):
    """Whole as it is: not the one from before, and not what comes of the job."""
    one = Recording.of(job(), tmp_path / "disk").job
    extract(one.asked(one.at, teachers={"one": 2.0}), lambda line: None, overwrite=True)
    with pytest.raises(AssertionError, match="another store"):
        one.look(one.at)


@pytest.mark.slow
@named
def test_every_disk_is_gone_on_with(job, recordings):
    """All of one seed; `python -m tests.faults` has more of them."""
    recordings(job).check_some(seed=1, count=None)


@pytest.mark.slow
@pytest.mark.parametrize("site", sites())
def test_an_fsync_taken_out_is_caught(site, recordings):
    missed(site, recordings)


def test_what_is_asked_for_another_reason_is_still_asked():
    for name in ELSEWHERE:
        assert "fsync" in (PACKAGE / name).read_text("utf-8")


def test_folders_are_made_by_make_folder():
    """Its parents are made durable, too. Not so in the cache of buckets, and within folders that appear as a whole."""
    makes = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if ".mkdir(" in path.read_text("utf-8")
    }
    elsewhere = {"store/bucket/cache.py", "store/bucket/remote.py", "store/upkeep/export.py"}
    assert makes == {"system/atomic.py", *elsewhere}
