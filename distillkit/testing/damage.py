"""A store whose files are lost, flipped or rewritten: what is hurt is told, never read, and made good."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from distillkit.errors import StoreError
from distillkit.store.format import layout
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.testing.bent import BENT
from distillkit.testing.promise import must
from distillkit.testing.writing import Writing

_MISSING = "a file that is missing"
_SIZE = "whose size differs from the manifest"
_ABSENT = "keys that are absent or not `ok`, and rows outside 0 to `rows`: never a neighbour, never zeros"


class Damage(Writing):
    """Rules that hurt a store."""

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def lose_a_file(self, data: st.DataObject) -> None:
        """Somebody deletes a file of a committed shard."""
        shard = data.draw(st.sampled_from(sorted(self.kept)))
        name = data.draw(st.sampled_from(sorted(self.fields)))
        (self.path / layout.shard_path(name, shard, self.fields[name])).unlink(missing_ok=True)
        self.lost.add(shard)
        if self.done:
            first, _ = self.writer.span(shard)
            refused = refuses(lambda: FeatureStore(self.path).read(name, np.array([first]), raw=True))
            must(_MISSING, refused, f"{name} was read")

    @precondition(lambda self: self.done and not self.lost)
    @rule(data=st.data(), grows=st.booleans())
    def change_a_size(self, data: st.DataObject, grows: bool) -> None:
        """A file has lost its last byte, or got one more."""
        name = data.draw(st.sampled_from(sorted(self.fields)))
        path = self.path / layout.shard_path(name, 0, self.fields[name])
        whole = path.read_bytes()
        path.write_bytes(whole + b"\0" if grows else whole[:-1])
        refused = refuses(lambda: FeatureStore(self.path).read(name, np.array([0]), raw=True))
        must(_SIZE, refused, f"{name} was read")
        path.write_bytes(whole)

    @precondition(lambda self: self.begun)
    @rule()
    def mend(self) -> None:
        """What has lost files is to do again, and only that; a store that lacks something is not finished."""
        assert set(self.writer.mend()) == self.lost
        for shard in self.lost:
            del self.kept[shard]
        self.done = self.done and not self.lost
        self.lost = set()

    @precondition(lambda self: self.done and not self.lost)
    @rule(data=st.data())
    def flip_a_bit(self, data: st.DataObject) -> None:
        """Verify names the file; put right, all is well."""
        manifest = Manifest.read(self.path)
        files = [*manifest.files, *(name for shard in manifest.shards for name in shard.files)]
        path = self.path / data.draw(st.sampled_from(sorted(files)))
        whole = path.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert [line.split(": ")[0] for line in verify(self.path)] == [str(path)]
        path.write_bytes(whole)

    @precondition(lambda self: self.done and not self.lost)
    @rule(data=st.data(), bent=st.sampled_from(BENT))
    def bend_the_manifest(self, data: st.DataObject, bent: tuple[str, Callable[[dict[str, Any]], Any]]) -> None:
        """A manifest that says something that cannot be is refused; put right, all is well."""
        place, (sentence, bend) = self.path / FILE_NAME, bent
        whole = place.read_bytes()
        said = json.loads(whole)
        bend(said)
        place.write_text(json.dumps(said), "utf-8")
        must(sentence, refuses(lambda: FeatureStore(self.path)), f"opened with {bend.__doc__ or bend.__name__}")
        place.write_bytes(whole)

    @precondition(lambda self: self.done and not self.lost)
    @rule(cut=st.booleans())
    def the_manifest_is_no_json(self, cut: bool) -> None:
        place = self.path / FILE_NAME
        whole = place.read_bytes()
        place.write_bytes(whole[: len(whole) // 2] if cut else b"")
        must("a folder without `manifest.json`, or with one that is not JSON", refuses(lambda: FeatureStore(self.path)))
        place.write_bytes(whole)

    @precondition(lambda self: self.done and not self.lost)
    @rule(beyond=st.integers(0, 3), before=st.integers(1, 3))
    def rows_that_are_not_there(self, beyond: int, before: int) -> None:
        """Nobody gets another row in their place."""
        store, name = FeatureStore(self.path), sorted(self.fields)[0]
        for row in (self.rows + beyond, -before):
            must(_ABSENT, refuses(lambda row=row: store.read(name, np.array([row]))), f"row {row} was read")  # type: ignore[misc]
        keys = ["nobody", *store.values("key", store.failed_rows[:1])]
        for key in keys:
            must(_ABSENT, refuses(lambda key=key: store.rows_of([key])), f"{key!r} was found")  # type: ignore[misc]


def refuses(call: Callable[[], Any]) -> bool:
    """Whether it is told that this cannot be."""
    try:
        call()
    except StoreError:
        return True
    return False
