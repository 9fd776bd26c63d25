"""The drawings that the installed packages bring: for each hand, which emoji lies in which file."""

from __future__ import annotations

from pathlib import Path

from distillkit.demo import manifest
from distillkit.errors import SourceError

HANDS = ("images", "restyled")  # OpenMoji and Twemoji: tables of the manifest, and folders of the prepared demo
_INVISIBLE = "FE0F"  # "draw me in colour": part of an emoji's code points, though not of every file name


def without_variation(key: str) -> str:
    """Code points without FE0F, in which packages differ: "2764-FE0F" -> "2764"."""
    return "-".join(point for point in key.split("-") if point != _INVISIBLE)


def drawings(hand: str) -> dict[str, Path]:
    """Every file of one hand by its code points, as OpenMoji spells them; MissingExtra without its package.

    Of the second hand only what the first has drawn, too. Twemoji writes code points small and without zeros before.
    """
    files = {path.stem: path for path in sorted(_folder(hand).glob("*.svg"))}
    if hand == HANDS[0]:
        return files
    by_points = {_plain(stem): path for stem, path in files.items()}
    return {key: by_points[_plain(key)] for key in drawings(HANDS[0]) if _plain(key) in by_points}


def drawn_by(hand: str, keys: list[str]) -> list[Path]:
    """The files of these emoji; SourceError for one that this hand has not drawn."""
    files = drawings(hand)
    lost = [key for key in keys if key not in files]
    if lost:
        table = manifest.load()[hand]
        raise SourceError(f"{table['name']} lacks {len(lost):,} drawings, first {lost[0]}; install {table['requires']}")
    return [files[key] for key in keys]


def _folder(hand: str) -> Path:
    return manifest.package_folder(hand) / manifest.load()[hand]["folder"]


def _plain(key: str) -> str:
    return "-".join(point.lstrip("0") for point in without_variation(key.upper()).split("-"))
