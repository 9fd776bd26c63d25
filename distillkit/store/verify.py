"""Checking a store against its manifest: every file, every byte."""

from __future__ import annotations

from pathlib import Path

from distillkit.store.manifest import Manifest, file_digest


def verify(path: Path) -> list[str]:
    """What is wrong with the store at `path`, one line each; empty when every checksum agrees."""
    problems = []
    for shard in Manifest.read(path).shards:
        for name, want in shard.files.items():
            if not (path / name).is_file():
                problems.append(f"{path / name}: missing")
                continue
            have = file_digest(path / name)
            if have.bytes != want.bytes:
                problems.append(f"{path / name}: {have.bytes} bytes, the manifest says {want.bytes}")
            elif have.sha256 != want.sha256:
                problems.append(f"{path / name}: sha256 {have.sha256[:16]}, the manifest says {want.sha256[:16]}")
    return problems
