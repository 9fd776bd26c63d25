"""What a job does to a folder, one thing after the other. A node is a file or a folder, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = 0  # the node of the folder itself


@dataclass(frozen=True)
class Named:
    """A name that was not there, of a new file, a new folder, or a file that has another name already."""

    folder: int
    name: str
    node: int
    is_folder: bool = False


@dataclass(frozen=True)
class Gone:
    """A name that is there no more."""

    folder: int
    name: str


@dataclass(frozen=True)
class Moved:
    """A rename; what had the new name before has it no more."""

    folder: int
    name: str
    to_folder: int
    to_name: str
    node: int


@dataclass(frozen=True)
class Holds:
    """A file's bytes, as a reader of this moment finds them."""

    node: int
    data: bytes


@dataclass(frozen=True)
class Synced:
    """An fsync that returned. `site`: the line of our code that asked for it, as `system/atomic.py:61`."""

    node: int
    site: str


@dataclass(frozen=True)
class Doubted:
    """An fsync that failed: what it was asked for may be lost, and a later one that returns says nothing of it."""

    node: int


@dataclass(frozen=True)
class Promised:
    """The job said that something is done: from here on `kept` must hold on every disk, or raise AssertionError."""

    what: str
    kept: Callable[[Path], None]


Event = Named | Gone | Moved | Holds | Synced | Doubted | Promised
