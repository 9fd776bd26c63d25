"""The unpaired sentences: ImageNet-21K's words and definitions, and the names of the seen concepts, as prompts.

DIME-FM's second text corpus in small (https://arxiv.org/abs/2303.18232). No sentence names an unseen concept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from distillkit.demo import manifest
from distillkit.demo.concepts import Phrases, stable_hash
from distillkit.errors import SourceError
from distillkit.sources.synsets import entries


@dataclass(frozen=True)
class Sentences:
    """`kept`: each once, in a fixed order. `dropped`: how many were left out because they name an unseen concept."""

    kept: list[str]
    dropped: int


def sentences(seen: list[str], unseen: list[str], *, synsets: int | None = None) -> Sentences:
    """Prompts and definitions of all synsets (or of the first `synsets` by hash), then prompts of the seen names."""
    named = Phrases(unseen)
    made = list(dict.fromkeys([*_of_synsets(synsets), *_of_names(seen)]))
    kept = [sentence for sentence in made if not named.within(sentence)]
    return Sentences(kept, dropped=len(made) - len(kept))


def prompt(name: str, number: int = 0) -> str:
    """`name` in one of CLIP's 80 templates, always the same one."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    template = OPENAI_IMAGENET_TEMPLATES[stable_hash(f"{number}:{name}") % len(OPENAI_IMAGENET_TEMPLATES)]
    return str(template(name))


def _of_synsets(count: int | None) -> Iterator[str]:
    table = manifest.load()["texts"]
    known = {entry.synset: entry for entry in entries(table["subset"])}
    if len(known) != table["synsets"]:
        raise SourceError(f"timm lists {len(known)} synsets, not {table['synsets']}; install {table['requires']}")
    for synset in sorted(sorted(known, key=stable_hash)[:count]):
        yield prompt(known[synset].lemmas[0])
        yield known[synset].sentence


def _of_names(names: list[str]) -> Iterator[str]:
    for name in names:
        for number in range(manifest.load()["texts"]["prompts_per_name"]):
            yield prompt(name, number)
