"""Several classes an image, as PASCAL VOC lists them: FOLDER/CLASS_PART.txt, a line for each image.

    000005  1      the class is in it; -1: it is not; 0: hard to see, which is counted as neither

http://host.robots.ox.ac.uk/pascal/VOC/voc2007/, folder ImageSets/Main. An image's key ends in that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from distillkit.errors import StoreError
from distillkit.system.paths import expand
from distillkit.system.textfile import lines_of

_MARKS = {"1": 1, "-1": 0, "0": -1}


@dataclass(frozen=True)
class Marks:
    """`places`: images among the usable rows of the store at `path` that are listed; `hit`: 1, 0, or -1 for neither, by
    class.
    """

    path: Path
    places: Int64[np.ndarray, "m"]
    hit: Int64[np.ndarray, "m c"]
    classes: list[str]


def marks_of(store: Any, folder: str, part: str) -> Marks:
    """StoreError where there are no such lists, they do not read so, or an image of one is not in the store."""
    files = lists_of(folder, part)
    if not files:
        raise StoreError(f"{expand(folder)}: has no lists CLASS_{part}.txt, as PASCAL VOC's ImageSets/Main has them")
    found = [_read(path) for path in files]
    names = list(found[0])
    for path, marks in zip(files[1:], found[1:], strict=True):
        if marks.keys() != found[0].keys():
            raise StoreError(f"{path}: lists other images than {files[0]}; fetch the lists again")
    keys = store.index["key"].take(store.ok_rows).to_pylist()
    where: dict[str, int] = {}
    for place, key in enumerate(keys):
        first = where.setdefault(Path(key).stem, place)
        if first != place and Path(key).stem in found[0]:
            raise StoreError(
                f"{store.path}: {keys[first]!r} and {key!r} are both called {Path(key).stem!r}, and {files[0]} lists "
                "one; take the images of one folder alone: distillkit store view --keys"
            )
    lost = [name for name in names if name not in where]
    if lost:
        raise StoreError(
            f"{store.path}: has no image {lost[0]!r} ({len(lost):,} of {len(names):,} lack) that {files[0]} lists; "
            "extract the whole corpus"
        )
    return Marks(
        store.path,
        np.array([where[name] for name in names], np.int64),
        np.array([[marks[name] for marks in found] for name in names], np.int64),
        [class_of(path, part) for path in files],
    )


def lists_of(folder: str, part: str) -> list[Path]:
    """The lists of a part, in the order of their classes' names, which is not that of the files': `bike` comes before
    `bike_rack`, and bike_rack_test.txt before bike_test.txt.
    """
    return sorted(Path(expand(folder)).glob(f"*_{part}.txt"), key=lambda path: class_of(path, part))


def class_of(path: Path, part: str) -> str:
    """The class that is listed there."""
    return path.stem.removesuffix(f"_{part}")


def _read(path: Path) -> dict[str, int]:
    try:
        lines = lines_of(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); mend it, or name another folder") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not UTF-8 ({error.reason}); convert the file") from error
    marks: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in _MARKS:
            raise StoreError(f"{path}:{number}: {line!r:.60} is not `NAME 1`, `NAME -1` or `NAME 0`")
        if words[0] in marks:
            raise StoreError(f"{path}:{number}: {words[0]!r} is listed above as well; keep one line of it")
        marks[words[0]] = _MARKS[words[1]]
    return marks
