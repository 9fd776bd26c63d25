"""A job recorded once, and then gone on with on every disk that a power cut may leave of it."""

from __future__ import annotations

import os
import random
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from distillkit.errors import DistillkitError
from distillkit.system import atomic
from tests.faults.disks import Disk, disks
from tests.faults.events import Event, Promised, Synced
from tests.faults.recorder import Interruption, Killed, Recorder

Promise = Callable[[str, Callable[[Path], None]], None]


class Job(Protocol):
    """Something that users do, in a folder. It must find its way from every disk that it may leave."""

    name = ""

    def prepare(self, folder: Path) -> None:
        """What is there before, durably."""

    @abstractmethod
    def run(self, folder: Path, promise: Promise) -> None:
        """Do it, or go on with it. `promise` what is done: it must hold on all disks from then on."""

    def again(self, folder: Path, promise: Promise) -> None:
        """What a user does next, where a call of the system failed: the same, and what is told of failed samples."""
        self.run(folder, promise)

    def excused(self, folder: Path) -> str | None:
        """Why the next run need not be as undisturbed, where a call of the system failed."""

    @abstractmethod
    def look(self, folder: Path) -> None:
        """AssertionError unless a reader sees something absent, unfinished or whole: nothing else, nothing bent."""

    def undisturbed(self, folder: Path) -> None:
        """Learn what came of it when nothing was in the way: `look` need not allow anything else from then on."""

    def outcome(self, folder: Path) -> dict[str, bytes]:
        """What must be equal in the end, whatever happened on the way."""
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
            and not path.name.endswith((".lock", "extract.jsonl", "mine.jsonl", "metrics.jsonl"))
            and path.parent.name != "stamps"  # times of files
        }


@dataclass
class Recording:
    """What a job did at `folder`, and what came of it."""

    job: Job
    folder: Path
    before: list[Event]
    events: list[Event]
    outcome: dict[str, bytes]
    real: dict[str, bytes | None]

    def interrupted(self, number: int, how: Interruption) -> Recording:
        """At that fsync (from 1) it fails or the process is killed; the job is run again. What both runs did."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with quick():
            self.job.prepare(self.folder)
        recorder = Recorder(self.folder, interrupted=number, how=how)
        with recorder.recording():
            for _ in range(2):
                _a_new_process()
                with suppress(DistillkitError, OSError, Killed):
                    self.job.run(self.folder, recorder.promise)
        return replace(self, before=recorder.before, events=recorder.events)

    def last(self, seed: int, deaf_to: str | None = None) -> list[Disk]:
        """The disks after a cut when all is said to be done."""
        promised = sum(isinstance(one, Promised) for one in self.events)
        return [disk for disk in self.disks(seed, deaf_to) if len(disk.promises) == promised]

    @classmethod
    def of(cls, job: Job, folder: Path) -> Recording:
        """A first time without recording: what Python compiles and caches is no part of the job."""
        for _ in range(2):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with quick():
                job.prepare(folder)
            recorder = Recorder(folder)
            _a_new_process()
            with recorder.recording():
                job.run(folder, recorder.promise)
        job.undisturbed(folder)
        real = {
            path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
            for path in sorted(folder.rglob("*"))
        }
        job.look(folder)
        return cls(job, folder, recorder.before, recorder.events, job.outcome(folder), real)

    @property
    def sites(self) -> set[str]:
        """The lines that asked for an fsync."""
        return {one.site for one in self.events if isinstance(one, Synced)}

    def disks(self, seed: int, deaf_to: str | None = None) -> Iterator[Disk]:
        return disks(self.before, self.events, seed, deaf_to=deaf_to)

    def thrown(self, seed: int, count: int) -> list[Disk]:
        """As `some`, of those disks that are another seed's alone."""
        return _chosen(list(disks(self.before, self.events, seed, dice=16, again=True)), seed, count)

    def check(self, disk: Disk) -> None:
        """Look, go on, compare. AssertionError tells what the disk lacked."""
        disk.lay_out(self.folder)
        try:
            for promise in disk.promises:
                promise.kept(self.folder)
            self.job.look(self.folder)
            _a_new_process()
            with quick():
                self.job.run(self.folder, lambda what, kept: kept(self.folder))
            self.job.look(self.folder)
            found = self.job.outcome(self.folder)
            different = {name for name in found.keys() | self.outcome if found.get(name) != self.outcome.get(name)}
            assert not different, f"not as undisturbed: {sorted(different)}"
        except Exception as error:
            last = self.events[disk.after - 1] if disk.after <= len(self.events) else None
            promised = [one.what for one in disk.promises]
            raise AssertionError(
                f"{self.job.name}, cut after event {disk.after} ({str(last)[:200]}); the disk has: {disk.lost}; "
                f"promised: {promised}: {error!r}"
            ) from error

    def some(self, seed: int, count: int | None) -> list[Disk]:
        """Of all disks so many, chosen by the seed, or all of them."""
        return _chosen(list(self.disks(seed)), seed, count)

    def check_some(self, seed: int, count: int | None) -> int:
        """Check them; returns how many."""
        found = self.some(seed, count)
        for disk in found:
            self.check(disk)
        return len(found)

    def catches(self, site: str, seed: int, count: int | None = None) -> str | None:
        """What fails when the fsync of that line does nothing; None where nothing does."""
        found = list(self.disks(seed, site))
        random.Random(seed).shuffle(found)
        return self._first_failure(found[:count])

    def catches_interrupted(self, site: str) -> str | None:
        """As `catches`, of runs that went on where another fsync had failed, or where a run had been killed."""
        for number in range(1, 1 + sum(isinstance(one, Synced) for one in self.events)):
            for how in ("fails", "killed"):
                again = self.interrupted(number, how)
                if failure := again._first_failure(again.last(number, site)):
                    return failure
        return None

    def _first_failure(self, found: list[Disk]) -> str | None:
        for disk in found:
            try:
                self.check(disk)
            except AssertionError as error:
                return str(error)
        return None


def _chosen(found: list[Disk], seed: int, count: int | None) -> list[Disk]:
    if count is None or len(found) <= count:
        return found
    return sorted(random.Random(seed).sample(found, count), key=lambda disk: disk.after)


def _a_new_process() -> None:
    """What a process knows of the disk, it knows of what it has done itself."""
    atomic._settled.clear()


@contextmanager
def quick() -> Iterator[None]:
    """Nobody waits for the disk."""
    real, os.fsync = os.fsync, lambda handle: None
    try:
        yield
    finally:
        os.fsync = real
