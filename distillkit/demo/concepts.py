"""Images to concepts: what an emoji is called in English, which concepts stay unseen, and what counts as naming one.

A concept is a name with its images; skin-tone variants share the name and so the concept.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from distillkit.demo import manifest
from distillkit.errors import SourceError
from distillkit.system.paths import data_manifests

Concepts = dict[str, list[str]]
"""Name -> keys of its images (code points, as in OpenMoji's file names), both in a fixed order."""

_SKIN_TONE = re.compile(r"_(light|medium-light|medium|medium-dark|dark)_skin_tone")
_INVISIBLE = "FE0F"  # "draw me in colour": part of an emoji's code points, though not of every file name


@dataclass(frozen=True)
class Corpus:
    """The concepts to learn from, and those kept from training altogether."""

    seen: Concepts
    unseen: Concepts

    @property
    def images(self) -> list[str]:
        """All image keys, seen first."""
        return [key for part in (self.seen, self.unseen) for keys in part.values() for key in keys]


def stable_hash(text: str) -> int:
    """A number for a text that is the same in every process and on every machine (Python's own hash is not)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def words(text: str) -> tuple[str, ...]:
    """The words of a text, without case, accents and punctuation: "Piñata!" -> ("pinata",)."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return tuple(re.findall(r"\w+", plain))


class Phrases:
    """Names to look for in texts as whole words in a row."""

    def __init__(self, names: Iterable[str]):
        self._phrases = {words(name) for name in names}
        self._lengths = sorted({len(phrase) for phrase in self._phrases})

    def within(self, text: str) -> bool:
        """Whether any of the names occurs in `text`."""
        spoken = words(text)
        return any(
            spoken[start : start + length] in self._phrases
            for length in self._lengths
            for start in range(len(spoken) - length + 1)
        )


def concept_name(english: str) -> str:
    """Without colons, underscores and skin tone: `:woman_astronaut_dark_skin_tone:` is a "woman astronaut"."""
    return _SKIN_TONE.sub("", english.strip(":")).replace("_", " ")


def read_concepts() -> Concepts:
    """Every fully qualified emoji that OpenMoji draws and the package `emoji` names, by concept, sorted."""
    folder = svg_folder()
    import emoji

    drawn = {path.stem for path in folder.glob("*.svg")}
    concepts: Concepts = {}
    for symbol, facts in emoji.EMOJI_DATA.items():
        if facts["status"] != emoji.STATUS["fully_qualified"]:
            continue
        points = [f"{ord(character):04X}" for character in symbol]
        spellings = "-".join(points), "-".join(point for point in points if point != _INVISIBLE)
        key = next((spelling for spelling in spellings if spelling in drawn), None)
        if key:
            concepts.setdefault(concept_name(facts["en"]), []).append(key)
    return {name: sorted(concepts[name]) for name in sorted(concepts)}


def svg_folder() -> Path:
    """Where OpenMoji's drawings lie; MissingExtra when one of the two packages is not installed."""
    manifest.package_folder("names")
    return manifest.package_folder("images") / manifest.load()["images"]["folder"]


def choose_unseen(names: Iterable[str], count: int) -> list[str]:
    """How data_manifests/demo_unseen.txt was made: the first `count` names, in the order of their hashes, that occur
    inside no other name. So no seen name contains an unseen one, and "no training text names it" can be exact."""
    spoken = {name: words(name) for name in names}
    alike = Counter(spoken.values())
    inside = {
        phrase[start:end]
        for phrase in spoken.values()
        for start in range(len(phrase))
        for end in range(start + 1, len(phrase) + 1)
        if end - start < len(phrase)
    }
    free = [name for name, phrase in spoken.items() if phrase and phrase not in inside and alike[phrase] == 1]
    return sorted(free, key=stable_hash)[:count]


def unseen_list() -> list[str]:
    """The committed names, in the file's order (the order of hashes, so that a shorter list is its beginning)."""
    text = (data_manifests() / manifest.load()["names"]["unseen_list"]).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def split(concepts: Concepts, unseen: list[str]) -> Corpus:
    """Seen and unseen; SourceError when a name of the committed list is drawn by nobody."""
    lost = [name for name in unseen if name not in concepts]
    if lost:
        packages = " and ".join(manifest.load()[part]["requires"] for part in ("images", "names"))
        raise SourceError(f"{len(lost)} unseen concepts have no image, first {lost[0]!r}; install {packages}")
    held_out = set(unseen)
    seen = {name: keys for name, keys in concepts.items() if name not in held_out}
    return Corpus(seen=seen, unseen={name: concepts[name] for name in unseen})


def shorten(corpus: Corpus, *, images: int, unseen: int) -> Corpus:
    """A smaller corpus out of the same lists: the first unseen concepts, then seen ones up to so many images in all."""
    kept_unseen = dict(list(corpus.unseen.items())[:unseen])
    room = images - sum(map(len, kept_unseen.values()))
    kept_seen: Concepts = {}
    for name in sorted(corpus.seen, key=stable_hash):
        room -= len(corpus.seen[name])
        if room < 0:
            break
        kept_seen[name] = corpus.seen[name]
    return Corpus(seen=dict(sorted(kept_seen.items())), unseen=kept_unseen)
