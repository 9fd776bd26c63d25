"""What two stores must have in common: what the manifest vouches for, every byte, or the rows of the same keys."""

from distillkit.store.format.manifest import Manifest
from distillkit.store.upkeep.verify import verify


def checksums(store):
    """Everything a manifest vouches for, and whether it is true."""
    assert verify(store) == []
    return Manifest.read(store).digest


def files(store):
    """Every byte of a store but the log, which holds times."""
    paths = (path for path in store.rglob("*") if path.is_file() and path.name != "extract.jsonl")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def rows(store, keys):
    return store.read("image", store.rows_of(keys)).float().numpy()
