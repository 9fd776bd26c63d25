"""The drawings of both hands as pictures, and the tables that name them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from pathlib import Path

from distillkit.callable import Say
from distillkit.demo import manifest
from distillkit.demo.concepts import Concepts, Corpus, Phrases
from distillkit.demo.drawings import HANDS, drawn_by
from distillkit.demo.hierarchy import Hierarchy
from distillkit.errors import SourceError
from distillkit.system.atomic import atomic_file, atomic_folder
from distillkit.system.wording import count
from distillkit.system.workers import by_processes

REPORT_EVERY = 1000
PARTS = ("seen", "validation", "unseen")
TABLES = (
    *(f"{part}{suffix}" for part in PARTS for suffix in (".tsv", "_restyled.tsv", "_names.txt")),
    "seen_described.txt",
    "groups.txt",
    "subgroups.txt",
)


def image_path(key: str, hand: str = HANDS[0]) -> str:
    """Where an image lies below the demo folder; also its key in a store."""
    return f"{hand}/{key}.png"


def rasterise(folder: Path, hand: str, keys: list[str], say: Say) -> None:
    """Fill `folder` with one square PNG on white per key."""
    size = manifest.load()["images"]["size"]
    with atomic_folder(folder) as filling:
        written = by_processes(partial(_draw, filling, hand, size), keys, drawn_by(hand, keys))
        for number, _ in enumerate(written, start=1):
            if number % REPORT_EVERY == 0:
                say(f"  {number:,} of {count(len(keys), 'image')}")


def _draw(folder: Path, hand: str, size: int, key: str, drawing: Path) -> None:
    (folder / f"{key}.png").write_bytes(drawn(drawing, hand, size, "#ffffff"))


def drawn(drawing: Path, hand: str, size: int, background: str | None = None) -> bytes:
    """A PNG of `size` pixels a side, transparent without a background."""
    manifest.package_folder("rasteriser")
    import resvg_py

    try:
        # Without system fonts: they take time to load, and pictures must not differ from machine to machine.
        return bytes(
            resvg_py.svg_to_bytes(
                svg_path=str(drawing), background=background, width=size, height=size, skip_system_fonts=True
            )
        )
    except ValueError as error:
        again = manifest.load()[hand]["requires"]
        raise SourceError(f"{drawing}: cannot be drawn ({error}); reinstall {again}") from error


def twins(folder: Path, corpus: Corpus, hand: str) -> set[str]:
    """Keys of a part whose picture is, to the last pixel, one of a part before it under another name.

    Norway's flag is Svalbard's, and a hand may draw "man cook" as it draws "cook". Whoever learned the one has seen the
    other, so these stand in no table of what is held out.
    """
    known, found = set[str](), set[str]()
    for concepts in corpus.parts.values():
        keys = [key for listed in concepts.values() for key in listed]
        pictures = {key: sha256((folder / image_path(key, hand)).read_bytes()).hexdigest() for key in keys}
        found |= {key for key, picture in pictures.items() if picture in known}
        known |= {*pictures.values()}
    return found


def write_tables(folder: Path, corpus: Corpus, hierarchy: Hierarchy) -> dict[str, int]:
    """For each part and hand a table as CLIP-KD writes it (title, filepath), with the numbers of group and subgroup;
    the names of each part for class prompts, those of the groups, and seen names with their groups' words.

    Returns how many twins each hand lacks.
    """
    lacking = {hand: twins(folder, corpus, hand) for hand in HANDS}
    for part, concepts in corpus.parts.items():
        for hand, suffix in zip(HANDS, (".tsv", "_restyled.tsv"), strict=True):
            _write(folder / f"{part}{suffix}", _rows(concepts, hand, hierarchy, lacking[hand]))
        _write(folder / f"{part}_names.txt", concepts)
    held_out = Phrases([*corpus.validation, *corpus.unseen])
    described = ((name, hierarchy.described(name)) for name in corpus.seen)
    # A group may have the name of a concept that is kept back.
    _write(folder / "seen_described.txt", (name if held_out.within(said) else said for name, said in described))
    _write(folder / "groups.txt", hierarchy.groups)
    _write(folder / "subgroups.txt", hierarchy.subgroups)
    return {hand: len(keys) for hand, keys in lacking.items()}


def _rows(concepts: Concepts, hand: str, hierarchy: Hierarchy, lacking: set[str]) -> Iterable[str]:
    yield "title\tfilepath\tgroup\tsubgroup"
    for name, keys in concepts.items():
        for key in keys:
            if key not in lacking:
                yield "\t".join((name, image_path(key, hand), *hierarchy.cells(name)))


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_file(path) as file:
        file.writelines(f"{line}\n".encode() for line in lines)
