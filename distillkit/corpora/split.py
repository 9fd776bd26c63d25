"""Classes and images parted as OOD distillation parts them: train, val on train, val; the lists and the seed recorded.

    train.tsv, val_on_train.tsv    images of the classes that are trained on: to learn from, and kept
    val.tsv                        all images of the other classes
    train_names.txt, val_names.txt class names, a line each in the order of the labels
    split.json                     seed, shares, counts, and the digest of each list

Classes are the folders below the root, names their folders' with _ as a blank, of which no two may be one. Labels count
within a side from 0. Drawn by a hash of the seed and the name, so that machines and orders of reading agree.
https://arxiv.org/abs/2307.03135; its released lists are read by `lists`, each of whose images is in one, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._names import same_form
from distillkit.sources._places import folder_at
from distillkit.sources._walk import is_image, walk
from distillkit.system.atomic import as_json
from distillkit.system.paths import expand, here
from distillkit.system.record import digest
from distillkit.system.textfile import lines_of
from distillkit.system.together import write_together
from distillkit.system.turns import in_turn
from distillkit.system.wording import count

SIDES = ("train", "val_on_train", "val")
_RELEASED = "_data.txt"

Images = dict[str, list[str]]  # paths below the root, by class


def split(
    root: str | Path,
    *,
    classes: float = 0.5,
    train: float = 0.7,
    seed: int = 0,
    lists: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the lists into `root`; returns how many images each side has. SourceError where a side would be empty, and
    where other lists lie there, unless `overwrite`: stores were made of them.

    `classes`: the share of classes to train on; `train`: of their images, the share to learn from. `lists`: a folder
    with train_data.txt, val_on_train_data.txt and val_data.txt instead, whose lines end in CLASS/FILE.
    """
    if not 0 < classes < 1 or not 0 < train < 1:
        raise SourceError(f"classes = {classes} and train = {train} must be between 0 and 1: they are shares")
    root = str(root)
    found = _found(root)
    sides = _drawn(found, classes, train, seed) if lists is None else _listed(found, here(lists), root)
    empty = next((side for side in SIDES if not any(sides[side].values())), None)
    if empty or sides["train"].keys() != sides["val_on_train"].keys():
        told = empty or "val_on_train, for some class,"
        raise SourceError(
            f"{root}: {told} would have no image of {count(len(found), 'class', 'classes')}; take other shares"
        )
    folder = Path(expand(root))
    made = {side: _table(sides[side]) for side in SIDES}
    made_names = {f"{side}_names": [_name(one) for one in sorted(sides[side])] for side in ("train", "val")}
    counts = {side: sum(map(len, sides[side].values())) for side in SIDES}
    asked = {"seed": seed, "classes": classes, "train": train} if lists is None else {"lists": lists}
    digests = {name: digest(lines) for name, lines in (made | made_names).items()}
    files = {folder / f"{name}.tsv": _text(lines) for name, lines in made.items()}
    files |= {folder / f"{name}.txt": _text(lines) for name, lines in made_names.items()}
    record = as_json({"asked": asked, "images": counts, "digests": digests})
    with in_turn(folder / "split.json"):  # of two splits, images of one side are learned from in the other
        if not overwrite:
            _refuse_others(files)
        everything = files | {folder / "split.json": record}
        write_together({path: partial(_put, content) for path, content in everything.items()})
    return counts


def _found(root: str) -> Images:
    found: Images = {}
    spelt: dict[str, str] = {}  # a class whose folder has two Unicode forms is one, as in the source `folder`
    for path in walk(folder_at(root), Account()):
        name, inside, _ = path.partition("/")
        if inside and is_image(path):
            if any(mark in path for mark in "\t\n\r"):
                raise SourceError(f"{root}: {path!r} has a tab or a line end in its name, and lists cannot; rename it")
            found.setdefault(spelt.setdefault(same_form(name), name), []).append(path)
    if len(found) < 2:
        raise SourceError(f"{root}: {count(len(found), 'folder')} with images; a split needs two or more, one a class")
    called: dict[str, str] = {}  # of two folders that are called alike one could be seen and the other unseen
    for name in found:
        if not _name(name):
            raise SourceError(f"{root}: the folder {name!r} names no class; give it a name with letters")
        first = called.setdefault(same_form(_name(name)), name)
        if first != name:
            raise SourceError(
                f"{root}: the folders {first!r} and {name!r} are both of a class called {_name(name)!r}; put their "
                "images into one, or rename one"
            )
    return found


def _drawn(found: Images, classes: float, train: float, seed: int) -> dict[str, Images]:
    order = sorted(found, key=lambda name: (_mark(seed, name), name))
    seen = sorted(order[: round(classes * len(order))])
    sides: dict[str, Images] = {side: {} for side in SIDES}
    sides["val"] = {name: found[name] for name in sorted(found.keys() - set(seen))}
    for name in seen:
        images = sorted(found[name], key=lambda path: (_mark(seed, path), path))
        first = round(train * len(images))
        if not 0 < first < len(images):
            raise SourceError(
                f"{name}: {count(len(images), 'image')} cannot be divided at train = {train}; give the class more"
            )
        sides["train"][name], sides["val_on_train"][name] = sorted(images[:first]), sorted(images[first:])
    return sides


def _listed(found: Images, lists: Path, root: str) -> dict[str, Images]:
    where: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, images in found.items():
        for image in images:
            where.setdefault((same_form(name), image.rpartition("/")[2]), []).append((name, image))
    sides: dict[str, Images] = {}
    listed: dict[str, str] = {}  # where each image is listed first
    for side in SIDES:
        path, sides[side] = lists / f"{side}{_RELEASED}", {}
        for number, line in _lines_in(path):
            folder, _, file = line.rpartition("/")
            asked = same_form(folder.rpartition("/")[2]), file
            if asked not in where:
                raise SourceError(f"{root}: has no image {'/'.join(asked)!r} that {path} lists; unpack all of it there")
            (name, image), *others = where[asked]
            if others:
                told = f"{image!r} and {others[0][1]!r} are both {'/'.join(asked)!r}"
                raise SourceError(f"{root}: {told}, which {path}:{number} lists; leave one of them there")
            if image in listed:
                raise SourceError(
                    f"{path}:{number}: {line!r:.80} is also listed in {listed[image]}; an image is in one list, once: "
                    "take one of both lines out, or fetch the lists again"
                )
            listed[image] = f"{path.name}:{number}"
            sides[side].setdefault(name, []).append(image)
    both = sides["val"].keys() & sides["train"].keys()
    if both:
        raise SourceError(
            f"{lists}: class {min(both)!r} is listed both as trained on and as unseen; fetch the lists again"
        )
    return sides


def _lines_in(path: Path) -> list[tuple[int, str]]:
    """The lines of a list that say something, and their numbers."""
    try:
        lines = lines_of(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); name the folder of the lists") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 ({error.reason}); convert the file") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _table(images: Images) -> list[str]:
    rows = [
        f"{_name(name)}\t{path}\t{label}" for label, name in enumerate(sorted(images)) for path in sorted(images[name])
    ]
    return ["title\tfilepath\tlabel", *rows]


def _name(folder: str) -> str:
    return " ".join(folder.replace("_", " ").split())


def _mark(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()


def _refuse_others(files: Mapping[Path, bytes]) -> None:
    """SourceError where one of these is there, and says something else."""
    for path, content in files.items():
        try:
            there = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}); mend it, or delete it") from error
        if there != content:
            raise SourceError(
                f"{path}: another split is here, and stores may have been made of it; add --overwrite to replace it, "
                "or split with the values in split.json beside it"
            )


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)
