"""The disks that a power cut may leave, by the rules of POSIX and of Linux' file systems taken at their worst.

* Bytes and size of a file are durable when an fsync of it returned. Until then the disk has what was durable before,
  what was written since, any state between, or blocks of both; the size may be there and the bytes not (zeros).
* A name (a new file or folder, a link, a removal) is durable when an fsync of its folder returned; fsync of the file
  does not make its name durable. Until then it has happened or not, each for itself and in no order.
* A rename is one such change: it has happened or not, and is durable when an fsync of the new folder returned.
* A file or folder without a name is lost, with all below it.
* What an fsync failed for is not made durable by another fsync; writing the bytes, or making the name, again is needed.

fsync(2) and rename(2) of Linux; https://pubs.opengroup.org/onlinepubs/9799919799/functions/fsync.html
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.events import ROOT, Doubted, Event, Gone, Holds, Moved, Named, Promised, Synced

_BLOCK = 512
_Change = Named | Gone | Moved
_Pick = Callable[[list[bytes]], bytes]  # of all states of a file since it was durable, what the disk has
Tree = dict[str, bytes | None]  # by path below the root: the bytes of a file, None for a folder


@dataclass
class Disk:
    """A disk that may be there after the first `after` events; `lost` tells what it lacks of them."""

    after: int
    lost: str
    tree: Tree
    promises: list[Promised]

    def lay_out(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in self.tree.items():
            if data is None:
                (folder / name).mkdir(exist_ok=True)
            else:
                (folder / name).write_bytes(data)


@dataclass
class _Held:
    """What is durable, and what is not yet."""

    names: dict[tuple[int, str], int] = field(default_factory=dict)
    pending: list[_Change] = field(default_factory=list)
    files: dict[int, list[bytes]] = field(default_factory=dict)  # the durable state first
    folders: set[int] = field(default_factory=lambda: {ROOT})
    doubted: dict[int, int] = field(default_factory=dict)  # of a file, how many states were there when an fsync failed
    doubtful: list[_Change] = field(default_factory=list)  # of `pending`

    def add(self, event: Event) -> None:
        if isinstance(event, Holds):
            self.files[event.node].append(event.data)
        elif isinstance(event, Synced) and event.node in self.folders:
            self._settle(event.node)
        elif isinstance(event, Synced):
            if len(self.files[event.node]) > self.doubted.get(event.node, 0):
                self.files[event.node] = self.files[event.node][-1:]
                self.doubted.pop(event.node, None)
        elif isinstance(event, Doubted) and event.node in self.folders:
            self.doubtful += [change for change in self.pending if _where(change) == event.node]
        elif isinstance(event, Doubted):
            self.doubted[event.node] = len(self.files[event.node])
        elif not isinstance(event, Promised):
            if isinstance(event, Named):
                if event.is_folder:
                    self.folders.add(event.node)
                else:
                    self.files.setdefault(event.node, [b""])
            self.pending.append(event)

    def _settle(self, folder: int) -> None:
        kept: list[_Change] = []
        for change in self.pending:
            if _where(change) != folder or any(change is one for one in self.doubtful):
                kept.append(change)
                continue
            kept = [one for one in kept if _target(one) != _target(change)]
            if isinstance(change, Moved):  # whatever its old name went through before is over
                key = change.folder, change.name
                kept = [one for one in kept if (one.folder, one.name) != key or isinstance(one, Moved)]
                kept = [one for one in kept if not _undone_by(one, change)]
            _apply(change, self.names)
        self.pending = kept

    def settle_all(self) -> None:
        for change in self.pending:
            _apply(change, self.names)
        self.pending = []
        self.files = {node: states[-1:] for node, states in self.files.items()}

    def tree(self, happened: Iterable[_Change], pick: _Pick) -> Tree:
        names = dict(self.names)
        for change in happened:
            _apply(change, names)
        below: dict[int, list[tuple[str, int]]] = {}
        for (folder, name), node in names.items():
            below.setdefault(folder, []).append((name, node))
        tree: Tree = {}

        def walk(folder: int, prefix: str) -> None:
            for name, node in sorted(below.get(folder, [])):
                if node in self.folders:
                    tree[prefix + name] = None
                    walk(node, f"{prefix}{name}/")
                else:
                    states = self.files[node]
                    tree[prefix + name] = states[0] if len(states) == 1 else pick(states)

        walk(ROOT, "")
        return tree


def _where(change: _Change) -> int:
    return change.to_folder if isinstance(change, Moved) else change.folder


def _target(change: _Change) -> tuple[int, str]:
    return (change.to_folder, change.to_name) if isinstance(change, Moved) else (change.folder, change.name)


def _undone_by(one: _Change, other: Moved) -> bool:
    """Whether `other` moves back to its place what `one` had moved away from there."""
    back = isinstance(one, Moved) and one.node == other.node and _target(one) == (other.folder, other.name)
    return back and (one.folder, one.name) == _target(other)


def _apply(change: _Change, names: dict[tuple[int, str], int]) -> None:
    if isinstance(change, Named):
        names[change.folder, change.name] = change.node
    elif isinstance(change, Gone):
        names.pop((change.folder, change.name), None)
    else:
        if names.get((change.folder, change.name)) == change.node:
            del names[change.folder, change.name]
        names[change.to_folder, change.to_name] = change.node


def disks(
    before: Iterable[Event],
    events: list[Event],
    seed: int,
    dice: int = 4,
    deaf_to: str | None = None,
    again: bool = False,
) -> Iterator[Disk]:
    """Every disk after every event, each once: all and none of what was pending, each alone, all but each, and `dice`
    thrown subsets with torn files. `deaf_to`: a line whose fsyncs do nothing. `again`: only those that are thrown, as
    the others are the same with every seed.
    """
    held, promises, seen = _Held(), list[Promised](), set[bytes]()
    for event in before:
        held.add(event)
    held.settle_all()
    events = [one for one in events if not (isinstance(one, Synced) and one.site == deaf_to)]
    for number, event in enumerate(events, 1):
        held.add(event)
        if isinstance(event, Promised):
            promises.append(event)
        chance = random.Random(f"{seed} {number}")
        for lost, tree in _thrown(held, chance, dice) if again else _possible(held, chance, dice):
            mark = _digest(tree, len(promises))
            if mark not in seen:
                seen.add(mark)
                yield Disk(number, lost, tree, list(promises))


def one_disk(before: Iterable[Event], events: list[Event], seed: int) -> Disk:
    """One of all disks, without making the others."""
    held, chance = _Held(), random.Random(seed)
    for event in before:
        held.add(event)
    held.settle_all()
    after = chance.randint(1, len(events))
    for event in events[:after]:
        held.add(event)
    lost, tree = chance.choice(list(_possible(held, chance, 4)))
    return Disk(after, lost, tree, [])


def _possible(held: _Held, chance: random.Random, dice: int) -> Iterator[tuple[str, Tree]]:
    every = held.pending
    yield "nothing", held.tree(every, _newest)
    yield "all that was not synced", held.tree([], _durable)
    yield "bytes that were not synced", held.tree(every, _durable)
    yield "bytes, but not sizes, that were not synced", held.tree(every, _zeros)
    yield "names that were not synced", held.tree([], _newest)
    for change in every:
        yield f"all names but {change}", held.tree([change], _newest)
        yield f"all but {change}, without its bytes", held.tree([change], _durable)
        yield f"{change}", held.tree([one for one in every if one is not change], _newest)
    yield from _thrown(held, chance, dice)


def _thrown(held: _Held, chance: random.Random, dice: int) -> Iterator[tuple[str, Tree]]:
    every = held.pending
    for throw in range(dice if every or any(len(states) > 1 for states in held.files.values()) else 0):
        some = [one for one in every if chance.random() < 0.5]
        yield f"what throw {throw} says", held.tree(some, lambda states: _torn(states, chance))


def _newest(states: list[bytes]) -> bytes:
    return states[-1]


def _durable(states: list[bytes]) -> bytes:
    return states[0]


def _zeros(states: list[bytes]) -> bytes:
    """The new size; where nothing was durable, zeros."""
    size = len(states[-1])
    return states[0][:size] + bytes(size - len(states[0][:size]))


def _torn(states: list[bytes], chance: random.Random) -> bytes:
    """A size that some state had, or one between them; of each block what some state had there, or zeros."""
    size = len(chance.choice(states))
    if chance.random() < 0.25:
        size = chance.randint(min(map(len, states)), size)
    made = bytearray(size)
    step = chance.choice([_BLOCK, 64, 7])
    for first in range(0, size, step):
        piece = chance.choice(states)[first : min(first + step, size)]
        made[first : first + len(piece)] = piece
    return bytes(made)


def _digest(tree: Tree, promises: int) -> bytes:
    hasher = hashlib.blake2b(str(promises).encode(), digest_size=16)
    for name, data in tree.items():
        hasher.update(f"{name}\0{-1 if data is None else len(data)}\0".encode())
        hasher.update(data or b"")
    return hasher.digest()


def live(before: Iterable[Event], events: Iterable[Event]) -> Tree:
    """The folder as it was at the end, from the recording alone."""
    held = _Held()
    for event in (*before, *events):
        held.add(event)
    return held.tree(held.pending, _newest)
