"""Fill the demo folder, stage by stage: images of both hands, tables, masks, texts, features of the towers, teachers.

A stage's line in prepared.json is written after everything it made, and taken out before it is made again; so the work
can be killed at any moment, and running it again does what is left. The line names the files and their sizes: where
some of them are gone, or of another size, the stage is made again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.callable import Say, silent
from distillkit.demo import manifest
from distillkit.demo.concepts import Corpus, read_concepts, shorten, split, unseen_list, validation_list
from distillkit.demo.drawings import HANDS
from distillkit.demo.hierarchy import read_hierarchy
from distillkit.demo.images import TABLES, rasterise, twins, write_tables
from distillkit.demo.masks import write_masks
from distillkit.demo.teacher_config import CONFIG, point_at_itself
from distillkit.demo.texts import sentences
from distillkit.errors import SourceError
from distillkit.system.atomic import atomic_file, make_folder, may_write, parsed_json, write_json
from distillkit.system.locks import locked
from distillkit.system.paths import cache_dir
from distillkit.system.wording import count

MASKS = "masks"
FEATURES, TEACHER, NARROW = "features.safetensors", "teacher", "teacher_of_one_drawing"


def prepare(quick: bool = False, say: Say = silent, *, narrow: bool = False) -> Path:
    """Make the embedded default ready in the cache folder, and return its folder; finished stages are left alone.

    `narrow`: make a second teacher, too, whose projections have seen the first drawing only.

    MissingExtra when a package of the extra `demo` is not installed; SourceError or TeacherError when one is not the
    package that was expected, or when another process is at work in the folder.
    """
    root = cache_dir() / ("demo-quick" if quick else "demo")
    make_folder(root)
    if not may_write(root):  # where all stages are finished, none writes
        _run(root, quick, narrow, say)
        return root
    with locked(root / ".lock", wait=False) as ours:
        if not ours:
            raise SourceError(f"{root}: another process is preparing it; wait until it is done")
        _run(root, quick, narrow, say)
    return root


def _run(root: Path, quick: bool, narrow: bool, say: Say) -> None:
    done = _Stages(root, manifest.fingerprint(quick=quick), say)
    corpus = _corpus(quick, say)
    for hand in HANDS:
        done.stage(hand, (hand,), partial(_images, root, hand, corpus, say))
    done.stage("tables", TABLES, lambda: _tables(root, corpus), rule="twins are left out")
    done.stage("masks", (MASKS,), lambda: _masks(root, corpus))
    done.stage("texts", ("texts.txt",), lambda: _texts(root, corpus, quick))
    done.stage("features", (FEATURES,), lambda: _features(root, corpus, say))
    done.stage("teacher", (TEACHER,), lambda: _teacher(root, TEACHER, corpus, HANDS))
    if narrow:
        done.stage("narrow teacher", (NARROW,), lambda: _teacher(root, NARROW, corpus, HANDS[:1]))
    for name in (TEACHER, NARROW):
        _mend_moved_teacher(root / name, say)
    say(f"demo: ready in {root}")
    for hand in HANDS:
        say(f"demo: {manifest.load()[hand]['attribution']}")


class _Stages:
    """What was finished, with which inputs, and what came out: prepared.json."""

    def __init__(self, root: Path, inputs: str, say: Say):
        self._root, self._inputs, self._say = root, inputs, say
        self._file = root / "prepared.json"
        self._finished = self._read()

    def stage(self, name: str, outputs: tuple[str, ...], make: Callable[[], dict[str, Any]], rule: str = "") -> None:
        """`rule`: what it is made by now, and was not at first; what was made otherwise is made anew."""
        paths, inputs = [self._root / output for output in outputs], f"{self._inputs} {rule}".rstrip()
        finished = self._finished.get(name)
        if finished and finished["inputs"] == inputs and self._whole(name, paths):
            self._say(f"demo: {name}: finished before ({_counts(finished['made'])}), nothing to do")
            return
        if self._finished.pop(name, None):
            write_json(self._file, self._finished)
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self._say(f"demo: {name} -> {', '.join(map(str, paths))}")
        begun = time.monotonic()
        made = make()
        self._finished[name] = {"inputs": inputs, "made": made, "files": self._sizes(paths)}
        write_json(self._file, self._finished)
        self._say(f"demo: {name}: {_counts(made)}, in {time.monotonic() - begun:.0f} s")

    def _read(self) -> dict[str, Any]:
        """What is told of each stage; a stage of which nothing can be read is not finished."""
        if not self._file.is_file():
            return {}
        try:
            found = parsed_json(self._file.read_bytes())
        except ValueError:
            found = None
        told = {name: one for name, one in found.items() if _is_record(one)} if isinstance(found, dict) else {}
        if not isinstance(found, dict) or len(told) < len(found):
            lost = "all" if not isinstance(found, dict) else ", ".join(found.keys() - told.keys())
            self._say(f"demo: {self._file}: damaged, or another program's; made again: {lost}")
        return told

    def _whole(self, name: str, paths: list[Path]) -> bool:
        """Whether all that a stage made is there, as large as it was; what is not is told."""
        there = self._sizes(paths)
        # A record of an older version names no files: that its outputs are there is all that it can be asked.
        files = self._finished[name].get("files", {})
        wrong = [file for file, size in files.items() if file not in there or size not in (None, there[file])]
        if wrong:
            why = "is of another size" if wrong[0] in there else "is gone"
            told = f"{wrong[0]} {why}" + (f", and so on, {count(len(wrong), 'file')} in all" if len(wrong) > 1 else "")
            self._say(f"demo: {name}: made again, as {told}")
        return not wrong and all(path.exists() for path in paths)

    def _sizes(self, paths: list[Path]) -> dict[str, int | None]:
        """Bytes of each file, by its name below the folder; none of what a moved teacher is given anew."""
        files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        return {
            file.relative_to(self._root).as_posix(): None if file.name == CONFIG else file.stat().st_size
            for file in files
        }


def _is_record(one: Any) -> bool:
    """Whether it is what `stage` keeps: `inputs`, numbers of what was made, and sizes of files."""
    if not isinstance(one, dict) or not isinstance(one.get("inputs"), str) or not isinstance(one.get("made"), dict):
        return False
    files = one.get("files", {})
    numbers = all(isinstance(number, int | float) for number in one["made"].values())
    return numbers and isinstance(files, dict) and all(isinstance(size, int | None) for size in files.values())


def _counts(made: dict[str, Any]) -> str:
    return ", ".join(f"{what} {n:.3f}" if isinstance(n, float) else f"{n:,} {what}" for what, n in made.items())


def _corpus(quick: bool, say: Say) -> Corpus:
    corpus = split(read_concepts(), unseen_list(), validation_list())
    expected = manifest.load()["images"]["count"]
    if len(corpus.images) != expected:
        needed = " and ".join(manifest.load()[part]["requires"] for part in ("images", "names"))
        say(f"demo: note: {count(len(corpus.images), 'named image')}, the manifest counts {expected:,} with {needed}")
    if not quick:
        return corpus
    limits = manifest.load()["quick"]
    held_out = {part: limits[f"{part}_concepts"] for part in ("validation", "unseen")}
    return shorten(corpus, images=limits["images"], **held_out)


def _images(root: Path, hand: str, corpus: Corpus, say: Say) -> dict[str, Any]:
    rasterise(root / hand, hand, corpus.images, say)
    return {"images": len(corpus.images)}


def _tables(root: Path, corpus: Corpus) -> dict[str, Any]:
    hierarchy = read_hierarchy({name: keys for part in corpus.parts.values() for name, keys in part.items()})
    lacking = write_tables(root, corpus, hierarchy)
    left_out = {f"twins left out of {hand}": number for hand, number in lacking.items()}
    counted = {f"{part} concepts": len(concepts) for part, concepts in corpus.parts.items()}
    return counted | {"without a group": len(corpus.names) - len(hierarchy.of)} | left_out


def _masks(root: Path, corpus: Corpus) -> dict[str, Any]:
    write_masks(root / MASKS, corpus.images)
    return {"masks": len(corpus.images)}


def _texts(root: Path, corpus: Corpus, quick: bool) -> dict[str, Any]:
    # The whole lists, quick or not: so the short corpus is a part of the long one.
    held_out = [*unseen_list(), *validation_list()]
    made = sentences(list(corpus.seen), held_out, synsets=manifest.load()["quick"]["synsets"] if quick else None)
    with atomic_file(root / "texts.txt") as file:
        file.writelines(f"{sentence}\n".encode() for sentence in made.kept)
    return {"sentences": len(made.kept), "dropped for naming a held-out concept": made.dropped}


def _features(root: Path, corpus: Corpus, say: Say) -> dict[str, Any]:
    # torch and open_clip are loaded only when there is a teacher to build.
    from distillkit.demo.features import read_everything

    return read_everything(root, corpus, root / FEATURES, say)


def _teacher(root: Path, name: str, corpus: Corpus, hands: tuple[str, ...]) -> dict[str, Any]:
    from distillkit.demo.teacher import build

    result = build(root / name, root / FEATURES, corpus, hands, {hand: twins(root, corpus, hand) for hand in HANDS})
    return {f"{table} {k}": found[k] for table, found in result.items() for k in ("R@1", "R@10")}


def _mend_moved_teacher(folder: Path, say: Say) -> None:
    if folder.is_dir() and point_at_itself(folder):
        say(f"demo: {folder.name}: was moved, or its configuration damaged; that now names {folder}")
