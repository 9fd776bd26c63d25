"""A job with one call that fails: what it tells, what it keeps, and how it goes on."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.cli import ending
from tests.faults.check import Job, quick
from tests.faults.failing import Calls, Fault, faults_of, mark_of, slices_of

_PATIENCE = 60  # seconds, before a job counts as hanging


@dataclass
class Trial:
    """A job at `folder`: how it ends undisturbed, and how often it calls the system, also for what lies beside it."""

    job: Job
    folder: Path
    counted: dict[str, int]
    outcome: dict[str, bytes]
    libraries: frozenset[str]
    prepared: Path  # what lies beside and in `folder` before the job runs: making it takes longer than copying it

    @classmethod
    def of(cls, job: Job, folder: Path) -> Trial:
        calls = Calls(folder.parent)
        for _ in range(2):  # what Python compiles and caches the first time is no part of it
            _laid_out(job, folder)
            calls = Calls(folder.parent)
            with calls.in_the_way():
                job.run(folder, lambda what, kept: None)
        job.undisturbed(folder)
        outcome = job.outcome(folder)
        _laid_out(job, folder)
        prepared = folder.parent.with_name(f"{folder.parent.name}.prepared")
        shutil.copytree(folder.parent, prepared, symlinks=True)
        return cls(job, folder, calls.counted, outcome, frozenset(calls.libraries), prepared)

    def faults(self) -> list[Fault]:
        return faults_of(self.counted)

    def some(self, count: int) -> list[Fault]:
        """So many of all faults, in an order that says nothing."""
        return sorted(self.faults(), key=mark_of)[:count]

    def slice(self, seed: int) -> list[Fault]:
        """Seeds 0 .. SLICES - 1 together have each fault once, and each fault always has the same seed."""
        return slices_of(self.counted)[seed]

    def check(self, fault: Fault) -> None:
        """AssertionError where something is told badly, lost, or in the way of the next run."""
        shutil.rmtree(self.folder.parent)
        shutil.copytree(self.prepared, self.folder.parent, symlinks=True)
        promises: list[tuple[str, Callable[[Path], None]]] = []
        calls = Calls(self.folder.parent, fault)
        told_line = "nothing"
        try:
            with _lines() as lines, suppress(_Ended), calls.in_the_way(), _no_longer_than(_PATIENCE), _as_a_command():
                self.job.run(self.folder, lambda what, kept: promises.append((what, kept)))
            if lines:
                (told_line,) = lines
                assert "\n" not in told_line, "more than one line"
                assert ";" in told_line, "it is not told what to do"
                assert names(told_line, calls.places, self.folder.parent), f"{calls.places} is not named"
            for what, kept in promises:
                try:
                    kept(self.folder)
                except AssertionError as error:
                    raise AssertionError(f"lost: {what}") from error
            self.job.look(self.folder)
            with quick():
                self.job.again(self.folder, lambda what, kept: kept(self.folder))
            self.job.look(self.folder)
            if self.job.excused(self.folder):
                return
            found = self.job.outcome(self.folder)
            different = {name for name in found.keys() | self.outcome if found.get(name) != self.outcome.get(name)}
            assert not different, f"not as undisturbed: {sorted(different)}"
        except Exception as error:
            raise AssertionError(f"{self.job.name}, {fault}; told: {told_line}: {error!r}") from error


# How a file is called while it has no name, and who keeps others from it.
_BESIDE = re.compile(r"((\.[0-9a-f]{8})?\.partial|\.lock)$")
_SUCCESSOR = re.compile(r"^\.(.+)\.appending$")


def names(line: str, places: list[str], root: Path) -> bool:
    """Whether a line tells of one of these places, of its folder or one above, or of what lies in it."""
    said = {_meant(Path(found.rstrip("."))) for found in re.findall(r"/[^\s:;,'\"()]+", line)}
    wanted = {_meant(Path(place)) for place in places}
    return any(
        root in one.parents and (one in (place, *place.parents) or place in one.parents)
        for one in said
        for place in wanted
    ) or any(_has_key(line, "/".join(place.parts[-2:])) for place in wanted)  # a key of a corpus


def _has_key(line: str, key: str) -> bool:
    return re.search(rf"(?<![\w./-]){re.escape(key)}(?![\w./-])", line) is not None


def _meant(place: Path) -> Path:
    """As a user calls it. A successor is called as the store whose place it takes."""
    parts = [_BESIDE.sub("", part).lstrip(".") if _BESIDE.search(part) else part for part in place.parts]
    meant = [part for part, below in zip(parts, [*parts[1:], ""], strict=True) if part != f".{below}.appending"]
    return Path(*meant[:-1], _SUCCESSOR.sub(r"\1", meant[-1]))


def _laid_out(job: Job, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with quick():
        job.prepare(folder)


class _Ended(Exception):
    """A command that ends with exit code 1."""


@contextmanager
def _as_a_command() -> Iterator[None]:
    """What the command line makes of an error."""
    try:
        with ending.in_one_line():
            yield
    except SystemExit as error:
        assert error.code == 1, f"exit code {error.code}"
        raise _Ended from None


@contextmanager
def _lines() -> Iterator[list[str]]:
    """What the command line says of an error."""
    lines: list[str] = []
    real, ending.say = ending.say, lines.append
    try:
        yield lines
    finally:
        ending.say = real


class _no_longer_than:  # noqa: N801
    """AssertionError where something takes longer than so many seconds."""

    def __init__(self, seconds: int):
        self.seconds = seconds

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGALRM, self._late)
        signal.alarm(self.seconds)

    def __exit__(self, *_: Any) -> None:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)

    def _late(self, *_: Any) -> None:
        raise AssertionError(f"it hangs: {self.seconds} seconds")
