"""ImageNet's synsets as sentences: their words in open_clip's templates, and their definitions.

The lists and WordNet 3.0's words come with timm (`timm.data.ImageNetInfo`), so this corpus needs no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from distillkit.sources._account import Account
from distillkit.sources._names import doubled
from distillkit.sources._templates import Templates, templates_called
from distillkit.types import Sample

Subset = Literal["imagenet1k", "imagenet12k", "imagenet21k", "imagenet21kmiil", "imagenet22k", "imagenet22kms"]


class Synsets:
    """`subset`: which of timm's lists of ImageNet synsets. A class's label is the synset's number in that list.
    `lemmas`: which words of a synset make texts: the first, or all of them. `definitions`: true: the definition of each
    synset is a text, too.

    Keys are `n02084071/<word>/<template>` and `n02084071/definition`. The defaults make 153,000 prompts and 22,000
    definitions; 80 templates make 1.7 million.
    """

    root = None

    def __init__(
        self,
        *,
        subset: Subset = "imagenet21k",
        templates: Templates | None = "simple_imagenet",
        lemmas: Literal["first", "all"] = "first",
        definitions: bool = True,
    ):
        self.subset, self.templates, self.lemmas, self.definitions = subset, templates, lemmas, definitions
        self.account = Account()

    def __iter__(self) -> Iterator[Sample]:
        self.account = Account()
        templates, listed = templates_called(self.templates) if self.templates else (), list(entries(self.subset))
        # With their definitions, or all of their words, synsets of one name are told apart.
        note = "" if self.definitions or self.lemmas == "all" else doubled(entry.lemmas[0] for entry in listed)
        self.account.notes += [note] if note else []
        for label, entry in enumerate(listed):
            for place, lemma in enumerate(entry.lemmas if self.lemmas == "all" else entry.lemmas[:1]):
                for number, template in enumerate(templates):
                    yield Sample(f"{entry.synset}/{place}/{number}", text=template(lemma), label=label)
            if self.definitions:
                yield Sample(f"{entry.synset}/definition", text=entry.sentence, label=label)


class _Entry(NamedTuple):
    synset: str
    lemmas: list[str]
    definition: str

    @property
    def sentence(self) -> str:
        return f"{self.lemmas[0]}: {self.definition}."


def entries(subset: str) -> Iterator[_Entry]:
    """The synsets of a subset in timm's order, which is that of their class numbers."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    for synset in info.label_names():
        lemmas, definition = info.label_name_to_description(synset, detailed=True).split(": ", 1)
        yield _Entry(synset, lemmas.split(", "), definition)
