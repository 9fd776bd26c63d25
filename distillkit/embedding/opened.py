"""Who is asked: the student of a run, the student that somebody has in hand, or the teacher that made a store."""

from __future__ import annotations

from pathlib import Path

from distillkit.embedding.embedder import Embedder
from distillkit.embedding.student import Student
from distillkit.embedding.teacher import Teacher
from distillkit.errors import StoreError
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.system.paths import expand
from distillkit.system.remote import is_remote


def opened(who: str | Path | Embedder, device: str = "auto") -> Embedder:
    """TrainError for a folder that is neither a finished run nor a store."""
    if isinstance(who, Embedder):
        return who
    return teacher_of_store(who, device) if is_store(who) else Student(RunFolder(Path(expand(str(who)))), device)


def is_store(place: str | Path) -> bool:
    """Whether a feature store, or a view of one, lies there."""
    if is_remote(str(place)):
        return True
    folder = Path(expand(str(place)))
    return any((folder / name).is_file() for name in (FILE_NAME, VIEW))


def teacher_of_store(place: str | Path, device: str = "auto") -> Teacher:
    """The teacher behind the store's images, or behind its texts where it holds no images."""
    store = FeatureStore(expand(str(place)))
    fields = [name for name in ("image", "text") if name in store.own_fields]
    if not fields:
        raise StoreError(
            f"{store.path}: holds neither image nor text embeddings, so there are none to compare with; name a "
            "store that has some"
        )
    return Teacher(store.teacher(fields[0]), str(store.path), device)
