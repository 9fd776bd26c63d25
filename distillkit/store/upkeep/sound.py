"""Stored rows that are written anew: their files must be as they were written.

A copy gets checksums of its own. So a flipped byte that nobody looked at would be a sound one from then on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from distillkit.callable import Say, silent
from distillkit.errors import StoreError
from distillkit.store.bucket.remote import origin
from distillkit.store.format import layout
from distillkit.store.format.checksums import BESIDE, PLAN
from distillkit.store.format.maker import how_again
from distillkit.store.format.manifest import File, Manifest, file_digest
from distillkit.store.upkeep.verify import checksum, checksums
from distillkit.system.progress import Progress


def refuse_damage(
    path: Path,
    manifest: Manifest,
    shards: Collection[int],
    fields: Collection[str] | None = None,
    *,
    cure: str | None = None,
    beside: bool = True,
    say: Say = silent,
) -> None:
    """StoreError names the first file that is not as it was written, of all that tells the rows of these shards.

    `fields`: these alone, where not all are copied. `cure`: what to run once that file is deleted. Of a store behind a
    URL files are checked as they come; here those that came before are looked at again. `beside`: check the files
    beside the rows, too, such as the table of classes: they are copied along. A caller that plans the corpus makes them
    anew, and needs no check.
    """
    files = manifest.files | {name: file for shard in shards for name, file in _files(manifest, shard, fields)}
    came = origin(path) is not None
    for problem in checksums(path, BESIDE if beside else ()):
        told = "take it from a copy, or move the store away and make it again"
        told = told if problem.startswith(f"{path / PLAN}: ") else "delete it, and run"
        raise StoreError(f"{problem}; nothing was copied; {told}: {cure or how_again(path)}")
    for problem in _problems(path, files, came, say):
        told = "delete that file, which does only its shard anew, and run: " + (cure or how_again(path))
        told = "delete that file, and it is fetched again when the same command runs again" if came else told
        raise StoreError(f"{problem}; nothing was copied; {told}")


def touched(rows: np.ndarray, manifest: Manifest) -> list[int]:
    """The shards that have some of these rows."""
    found: list[int] = np.unique(rows // manifest.rows_per_shard).tolist()
    return found


def lost(path: Path, manifest: Manifest) -> list[int]:
    """The shards of which a file is gone, or of another size."""
    shards = enumerate(manifest.shards)
    return [number for number, shard in shards if not all(_there(path, *one) for one in shard.files.items())]


def _there(path: Path, name: str, want: File) -> bool:
    return (path / name).is_file() and (path / name).stat().st_size == want.bytes


def _files(manifest: Manifest, shard: int, fields: Collection[str] | None) -> Iterator[tuple[str, File]]:
    others = {
        layout.shard_path(name, shard, field)
        for name, field in manifest.fields.items()
        if fields is not None and name not in fields
    }
    yield from ((name, file) for name, file in manifest.shards[shard].files.items() if name not in others)


def _problems(path: Path, files: Mapping[str, File], came: bool, say: Say) -> Iterator[str]:
    with Progress(f"{path}: bytes to copy checked", sum(file.bytes for file in files.values()), say) as progress:
        for name, want in files.items():
            problem = _as_it_came(path / name, want) if came else checksum(path / name, want)
            if problem:
                yield problem
            progress.advance(want.bytes)


def _as_it_came(path: Path, want: File) -> str | None:
    return f"{path}: not as it came" if path.is_file() and file_digest(path) != want else None
