"""One seed: a world is drawn, its processes run to their ends, and what is left is held against the ledger."""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.errors import DistillkitError
from distillkit.store.writing.claims import Part
from tests.faults.many.bucket import PROTOCOL, Bucket, Face
from tests.faults.many.calls import in_the_way
from tests.faults.many.ledger import Ledger
from tests.faults.many.programs import Programs
from tests.faults.many.turns import Machine, Process, Turns

# What a disk would have is worked out; where the files lie changes nothing but the hours.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_URL = f"{PROTOCOL}://bucket/out"
_TOLD = (DistillkitError, OSError)  # what a user is told in one line


@dataclass
class World:
    """What a seed draws. `shared`: a folder that all machines see; else a bucket."""

    shared: bool
    leased: bool
    rivals: bool
    trouble: float
    lag: float
    sleepy: float
    deadly: bool

    @classmethod
    def drawn(cls, chance: random.Random) -> World:
        return cls(
            shared=chance.random() < 0.4,
            leased=chance.random() < 0.5,
            rivals=chance.random() < 0.4,
            trouble=chance.choice((0, 0.02, 0.1)),
            lag=chance.choice((0, 5, 120)),
            sleepy=chance.choice((0, 0.001, 0.01)),
            deadly=chance.random() < 0.6,
        )


class Trial:
    """A seed's world, or one of the given kind. AssertionError for a row that is twice there, lost, or another's."""

    def __init__(self, seed: int, folder: Path, world: World | None = None):
        self.chance = random.Random(seed)
        drawn = World.drawn(self.chance)
        self.world = world or drawn
        self.ledger = Ledger(self.chance.choice((40, 100, 150, 200)))
        self.turns = Turns(self.chance, self.world.sleepy, self._ended)
        self.bucket = Bucket(self.turns, self.world.trouble, self.world.lag)
        self.machines = [Machine(folder / f"machine-{number}", self.chance.gauss(0, 3600)) for number in range(3)]
        self.place = str(folder / "server") if self.world.shared else _URL
        self.folder, self.programs = folder, Programs(self.turns, self.ledger, self.place)
        self.processes: list[Process] = []
        self._runs: dict[Process, int] = {}

    def run(self) -> None:
        Face.world = self.bucket
        with in_the_way(self.turns, self.folder, self.world.leased), self.programs.instead_of_networks():
            for _ in range(self.chance.choice((1, 2, 2, 3))):
                self._start(self._extraction(), 3, self.chance.uniform(0, 400))
            if not self.world.shared and self.chance.random() < 0.3:
                self._start(self.programs.read, 1, self.chance.uniform(100, 3000))
            self.turns.run()
        self._judge()

    def _extraction(self) -> Any:
        parts = self.chance.choice((1, 1, 2))
        part = Part(self.chance.randint(1, parts), parts)
        which = self.chance.randint(1, 2) if self.world.rivals else 1
        overwrite = self.chance.random() < 0.5
        return lambda: self.programs.extract(which, part, overwrite)

    def _start(self, program: Any, runs: int, after: float) -> None:
        dies_at = int(self.chance.lognormvariate(5, 1)) if self.world.deadly and self.chance.random() < 0.5 else 0
        process = Process(self.chance.choice(self.machines), program, dies_at)
        self._runs[process] = runs
        self.processes.append(process)
        self.turns.start(process, after)

    def _ended(self, process: Process) -> None:
        """Who was killed, or told that something is wrong, is run again, as people do."""
        runs = self._runs.get(process, 0) - 1
        if runs > 0 and (process.killed or process.error) and process.program != self.programs.read:
            self._start(process.program, runs, self.chance.uniform(0, 4000))

    def _judge(self) -> None:
        for process in self.processes:
            if process.error is not None and not isinstance(process.error, _TOLD):
                raise process.error
        before, done = len(self.ledger.computed), {of: {*shards} for of, shards in self.ledger.done.items()}
        last = self._last_run()
        if last.error is not None:
            raise AssertionError(f"the last run, undisturbed, ends with {last.error!r}") from last.error
        anew = set(self.ledger.computed[before:])
        of, found = self.ledger.check(self._read, complete=True)
        kept = {of: {shard for shard in found if (of, shard) not in anew}}
        for aside in sorted(self.folder.glob("server/store.before-*")):
            old, shards = self.ledger.check(lambda name, aside=aside: (aside / name).read_bytes(), complete=False)
            kept[old] = kept.get(old, set()) | shards
        for which, shards in done.items():
            lost = shards - kept.get(which, set())
            assert not lost, f"shards {sorted(lost)} of identity {which} were reported done and are lost"

    def _last_run(self) -> Process:
        """By another machine, when nothing is wrong any more."""
        self.bucket.trouble = self.turns.sleepy = 0
        which = self.ledger.begun(self._read)
        last = Process(Machine(self.folder / "last"), lambda: self.programs.extract(which, Part()))
        self.turns.start(last, 1000)
        with in_the_way(self.turns, self.folder, False), self.programs.instead_of_networks():
            self.turns.run()
        return last

    def _read(self, name: str) -> bytes:
        if self.world.shared:
            return (self.folder / "server/store" / name).read_bytes()
        return self.bucket.get(f"bucket/out/store/{name}")


def check(seed: int) -> None:
    """Run one seed in a folder of its own. AssertionError tells how to see it again."""
    folder = Path(tempfile.mkdtemp(prefix="writers-", dir=MEMORY))
    trial = Trial(seed, folder)
    try:
        trial.run()
    except Exception as error:
        told = f"seed {seed} ({trial.world}): {error}; again: python -m tests.faults --seed {seed}"
        raise AssertionError(told) from error
    finally:
        shutil.rmtree(folder)
