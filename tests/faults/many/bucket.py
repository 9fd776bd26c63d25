"""A bucket of the simulated world, and the face that fsspec shows of it.

What is put or removed is so at once for who asks for it by name; a listing may tell of it later. A request may be
refused (503), be cut off before it had an effect or after, or arrive once more when nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import fsspec
from fsspec.spec import AbstractFileSystem

from tests.faults.many.turns import Turns

PROTOCOL = "simulated"
T = TypeVar("T")


class Refused(OSError):
    """The server has too much to do."""

    status = 503


@dataclass
class Bucket:
    """`trouble`: how probable a fault is at a request. `lag`: how many seconds a listing may be behind, at most."""

    turns: Turns
    trouble: float = 0.0
    lag: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)  # bytes, as a listing tells them

    def asked(self, effect: Callable[[], T], again: bool = False) -> T:
        """What a request does. `again`: it may arrive a second time."""
        chance, trouble = self.turns.chance, self.trouble
        self.turns.wait(self._seconds())
        if chance.random() < trouble:
            if chance.random() < 0.5:
                raise Refused("slow down")
            if again and chance.random() < 0.3:
                self.turns.later(chance.uniform(1, 20), lambda: _quietly(effect))
            raise ConnectionResetError("cut off on the way there")
        found = effect()
        self.turns.wait(self._seconds())
        if chance.random() < trouble:
            raise ConnectionResetError("cut off on the way back")
        return found

    def put(self, name: str, data: bytes, create: bool) -> None:
        if create and name in self.files:
            raise FileExistsError(name)
        self.files[name] = data
        self._told(name)

    def get(self, name: str) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]

    def remove(self, name: str) -> None:
        self.get(name)
        del self.files[name]
        self._told(name)

    def _told(self, name: str) -> None:
        """A listing tells of it, now or later: each of its own state then."""

        def tell() -> None:
            if name in self.files:
                self.listed[name] = len(self.files[name])
            else:
                self.listed.pop(name, None)

        late = self.lag and self.turns.chance.random() < 0.5
        self.turns.later(self.turns.chance.uniform(0, self.lag), tell) if late else tell()

    def _seconds(self) -> float:
        chance = self.turns.chance
        return chance.uniform(1, 30) if chance.random() < 0.03 else chance.uniform(0.01, 0.2)


def _quietly(effect: Callable[[], object]) -> None:
    try:
        effect()
    except OSError:
        return


class Face(AbstractFileSystem):
    """The bucket as fsspec shows buckets."""

    protocol = PROTOCOL
    cachable = False
    world: ClassVar[Bucket]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "type": "file", "size": len(self.world.asked(lambda: self.world.get(path)))}

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **_: Any) -> Any:
        listed = self.world.asked(lambda: dict(self.world.listed))
        return {
            name: {"name": name, "type": "file", "size": size}
            for name, size in sorted(listed.items())
            if name.startswith(f"{path}/")
        }

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return self.world.asked(lambda: self.world.get(path))[start:end]

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        assert mode == "rb"
        return BytesIO(self.cat_file(path))

    def put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **_: Any) -> None:
        data = Path(lpath).read_bytes()
        self.world.asked(lambda: self.world.put(rpath, data, mode == "create"), again=True)

    def rm_file(self, path: str) -> None:
        self.world.asked(lambda: self.world.remove(path))


fsspec.register_implementation(PROTOCOL, Face, clobber=True)
