"""Recordings of all jobs, each made once."""

import pytest

from tests.faults.check import Recording


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    made = {}

    def recorded(job):
        if job not in made:
            made[job] = Recording.of(job(), tmp_path_factory.mktemp("power") / "disk")
        return made[job]

    return recorded
