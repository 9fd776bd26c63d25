"""The parts of `make reliability`: what is tried with a seed, again and again, and how much of it there is to be.

A part is one line of PARTS. It is asked for seed 0, 1, ... and answers with what it counted and what failed.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from tests.faults import fuzz
from tests.faults.check import Recording, quick
from tests.faults.failing import KINDS, SLICES
from tests.faults.failures import Trial
from tests.faults.hostile_input import Reader
from tests.faults.jobs import JOBS
from tests.faults.machines import CorpusWithPowerCuts, WithPowerCuts, taken, told_as_a_script
from tests.faults.many import trial as many
from tests.faults.many.trial import MEMORY
from tests.faults.outside import make_world
from tests.faults.sites import missed, sites
from tests.faults.targets import TARGETS

_DISKS, _INPUTS = 1500, 500  # a seed
_MODELS = (WithPowerCuts, CorpusWithPowerCuts)
_RUNS, _STEPS = 40, 30  # of a model and seed
_WORLDS = 500  # of many writers, a seed
_FUZZED = 4  # minutes, a seed


class Tried(NamedTuple):
    """`counted`: how many of the part's unit; `failed`: a line each.

    `all`: how many the part has, where it has an end; `minutes`: of the CPU, where the goal is one of time; `calls`:
    of each kind, how many a job makes of the system, and `kinds` what a fault was then, where faults are counted.
    """

    counted: int
    failed: list[str]
    all: int | None = None
    minutes: float | None = None
    calls: dict[str, int] | None = None
    kinds: str | None = None


class Part(NamedTuple):
    """`method` and `what` name it in the table; `goal`: units that the method as a whole is to reach.

    `goal` None: all that its parts have, which their seeds 0 .. `seeds` - 1 are. `each`: the goal is one of each part,
    and `minutes`: of the CPU's minutes. `needs`: a package, without which it is passed over.
    """

    method: str
    what: str
    unit: str
    goal: int | None
    tried: Callable[[int], Tried]
    each: bool = False
    minutes: bool = False
    needs: str | None = None
    seeds: int = 1

    @property
    def can_be(self) -> bool:
        return self.needs is None or find_spec(self.needs) is not None


def failures(checks: Iterable[Callable[[], object]]) -> Tried:
    """All of these are done; an AssertionError is a failure, told at once."""
    counted, failed = 0, []
    for check in checks:
        counted += 1
        try:
            check()
        except AssertionError as error:
            failed.append(str(error))
            print(error, flush=True)
    return Tried(counted, failed)


def _power_cuts(job: type, seed: int) -> Tried:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        recording = Recording.of(job(), Path(folder) / "disk")
        some = recording.thrown(seed, _DISKS) if seed else recording.some(0, _DISKS)
        return failures(partial(recording.check, disk) for disk in some)


def _taken_out(site: str, _: int) -> Tried:
    """There is nothing more to try of an fsync than that it is missed."""
    return failures([partial(missed, site, _recording)])._replace(all=1)


@cache
def _recording(job: type) -> Recording:
    """Each made once, as all fsyncs are looked for in all of them."""
    return Recording.of(job(), Path(mkdtemp(dir=_kept())) / "disk")


@cache
def _kept() -> str:
    """A folder that goes when the process ends."""
    folder = tempfile.TemporaryDirectory(dir=MEMORY)
    atexit.register(folder.cleanup)
    return folder.name


def _failing_calls(job: type, seed: int) -> Tried:
    trial = _trial(job)
    found = failures(partial(trial.check, fault) for fault in trial.slice(seed))
    return found._replace(all=len(trial.faults()), calls=trial.counted, kinds=KINDS)


@cache
def _trial(job: type) -> Trial:
    """Made once, for all slices: a small job is done sooner than it is counted."""
    return Trial.of(job(), Path(mkdtemp(dir=_kept())) / "disk")


def _hostile_bytes(target: str, seed: int) -> Tried:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, quick():
        world = Path(folder) / "world"
        world.mkdir()
        make_world(world)
        reader = Reader(world, Path(folder) / "read", target)
        seeds = range(seed * _INPUTS, (seed + 1) * _INPUTS)
        return failures(partial(reader.given, reader.changed(one), f"seed {one}") for one in seeds)


def _fuzzed(target: str, seed: int) -> Tried:
    found = fuzz.tried(target, _FUZZED, seed)
    if found.failed:
        print(found.failed[0], flush=True)
    return Tried(found.inputs, found.failed, minutes=found.minutes)


def _model(model: type, seed: int) -> Tried:
    before = taken[0]
    with quick():
        found = failures([lambda: told_as_a_script(model, _RUNS, _STEPS, seed)])
    return found._replace(counted=taken[0] - before)


def _many_writers(seed: int) -> Tried:
    return failures(partial(many.check, one) for one in range(seed * _WORLDS, (seed + 1) * _WORLDS))


PARTS = [
    *(Part("power cuts", job.name, "disks", 50_000, partial(_power_cuts, job)) for job in JOBS),
    *(Part("fsyncs taken out", site, "fsyncs", None, partial(_taken_out, site)) for site in sites()),
    *(Part("every call fails", job.name, "faults", None, partial(_failing_calls, job), seeds=SLICES) for job in JOBS),
    *(Part("hostile bytes", name, "inputs", 10_000, partial(_hostile_bytes, name), each=True) for name in TARGETS),
    *(
        Part("models", one.__name__, "steps", 10_000, partial(_model, one))
        for one in (WithPowerCuts, CorpusWithPowerCuts)
    ),
    Part("many writers", "bucket and disk", "worlds", 100_000, _many_writers),
    *(
        Part("fuzzing", name, "inputs", 120, partial(_fuzzed, name), each=True, minutes=True, needs="atheris")
        for name in TARGETS
    ),
]
