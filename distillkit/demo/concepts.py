"""Images to concepts: what an emoji is called in English, which concepts are kept back, and what counts as naming one.

A concept is a name with its images; skin-tone variants share the name and so the concept.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from distillkit.demo import manifest
from distillkit.demo.drawings import drawings, without_variation
from distillkit.errors import SourceError
from distillkit.system.paths import data_manifests

Concepts = dict[str, list[str]]
"""Name -> keys of its images (code points, as in OpenMoji's file names), both in a fixed order."""

_SKIN_TONE = re.compile(r"_(light|medium-light|medium|medium-dark|dark)_skin_tone")


@dataclass(frozen=True)
class Corpus:
    """The concepts to learn from, and those kept from training altogether, the teacher's and the students'.

    On `validation` settings are chosen; `unseen` is for the numbers that are told.
    """

    seen: Concepts
    validation: Concepts
    unseen: Concepts

    @property
    def parts(self) -> dict[str, Concepts]:
        """By the name that files and stores have for them, in the order of `images` and `names`."""
        return {"seen": self.seen, "validation": self.validation, "unseen": self.unseen}

    @property
    def images(self) -> list[str]:
        """All image keys, seen first."""
        return [key for part in self.parts.values() for keys in part.values() for key in keys]

    @property
    def names(self) -> list[str]:
        """All names, in the order of the images."""
        return [name for part in self.parts.values() for name in part]


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
    manifest.package_folder("names")
    drawn = drawings("images")
    import emoji

    concepts: Concepts = {}
    for symbol, facts in emoji.EMOJI_DATA.items():
        if facts["status"] != emoji.STATUS["fully_qualified"]:
            continue
        points = [f"{ord(character):04X}" for character in symbol]
        key = next((key for key in ("-".join(points), without_variation("-".join(points))) if key in drawn), None)
        if key:
            concepts.setdefault(concept_name(facts["en"]), []).append(key)
    return {name: sorted(concepts[name]) for name in sorted(concepts)}


def choose_held_out(names: Iterable[str], unseen: int, validation: int) -> tuple[list[str], list[str]]:
    """How the two lists in data_manifests/ were made: of the names that occur inside no other name, in the order of
    their hashes, the first are unseen and the next for validation. So no seen name contains one of them, and "no
    training text names it" can be exact."""
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
    chosen = sorted(free, key=stable_hash)[: unseen + validation]
    return chosen[:unseen], chosen[unseen:]


def unseen_list() -> list[str]:
    """The committed names, in the file's order (the order of hashes, so that a shorter list is its beginning)."""
    return _listed("unseen_list")


def validation_list() -> list[str]:
    """The same of the names on which settings are chosen."""
    return _listed("validation_list")


def _listed(which: str) -> list[str]:
    text = (data_manifests() / manifest.load()["names"][which]).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def split(concepts: Concepts, unseen: list[str], validation: list[str]) -> Corpus:
    """Seen and held out; SourceError when a name of the committed lists is drawn by nobody."""
    held_out = [*unseen, *validation]
    lost = [name for name in held_out if name not in concepts]
    if lost:
        packages = " and ".join(manifest.load()[part]["requires"] for part in ("images", "names"))
        raise SourceError(f"{len(lost)} held-out concepts have no image, first {lost[0]!r}; install {packages}")
    seen = {name: keys for name, keys in concepts.items() if name not in set(held_out)}
    return Corpus(seen, {name: concepts[name] for name in validation}, {name: concepts[name] for name in unseen})


def shorten(corpus: Corpus, *, images: int, unseen: int, validation: int) -> Corpus:
    """A smaller corpus from the same lists: the first held-out concepts, then seen ones up to so many images in all."""
    kept_unseen = dict(list(corpus.unseen.items())[:unseen])
    kept_validation = dict(list(corpus.validation.items())[:validation])
    room = images - sum(map(len, (*kept_unseen.values(), *kept_validation.values())))
    kept_seen: Concepts = {}
    for name in sorted(corpus.seen, key=stable_hash):
        room -= len(corpus.seen[name])
        if room < 0:
            break
        kept_seen[name] = corpus.seen[name]
    return Corpus(dict(sorted(kept_seen.items())), kept_validation, kept_unseen)
