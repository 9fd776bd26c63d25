"""Zero-shot classification: the nearest class embedding, averaged over prompt templates and re-normalised.

Radford et al. 2021, section 3.1.4, https://arxiv.org/abs/2103.00020. A student with a text tower embeds the prompts
itself; one without keeps the teacher's.
"""

from __future__ import annotations

from pathlib import Path

from distillkit.evals._answers import Answers
from distillkit.evals._class_order import as_prompted
from distillkit.evals._classes import Classes, class_embeddings, prompt_names, prompted
from distillkit.evals._classified import classified
from distillkit.evals._encode import Encode, OpenStore, blank
from distillkit.evals._labels import Labels, files_of_names, images_with, labels_of, labels_of_images
from distillkit.evals._ranking import one_right, ranked
from distillkit.evals._shots import all_are_shots, shots_of


class ZeroShot:
    """`store`: a store of images with class labels, or with class names as captions. `prompts`: a store of class
    prompts.

    `classes`: the file of class names that the prompts were made of; needed if the images have names and no labels.
    `shots`: leave out so many images of each class, those that few-shot training was shown (`data.mix`); 0: none.
    """

    def __init__(
        self,
        *,
        store: str,
        prompts: str,
        classes: str | None = None,
        shots: int = 0,
        first_class: int = 0,
        name: str | None = None,
    ):
        self.store, self.prompts, self.classes, self.name = store, prompts, classes, name or "zero_shot"
        self.shots, self.first_class = shots, first_class

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Top-1, top-5 and mean per-class accuracy, each with its 95 % interval and chance."""
        labels, classes = self.check(open_store)
        label = classes.numbers(labels)
        store, prompts = open_store(self.store), open_store(self.prompts)
        texts = class_embeddings(prompts, encode)
        found = ranked(encode(store)[labels.places], texts, one_right(label, len(classes)), few=blank(encode))
        return classified(store, labels, label, classes, found, names=prompt_names(prompts, classes))

    def check(self, open_store: OpenStore) -> tuple[Labels, Classes]:
        """The images that are asked, and the classes; StoreError where the labels cannot be used."""
        store = open_store(self.store)
        knobs = (self.classes, self.first_class)
        prompts = open_store(self.prompts)
        labels, classes = as_prompted(labels_of_images(store, *knobs), prompts), prompted(prompts)
        if self.shots:  # training chose among all rows; of an image that it saw no other row is new
            labels = labels.but(images_with(store, shots_of(store, labels_of(store, *knobs), self.shots)))
        if not len(labels.places):
            raise all_are_shots(store, "zero_shot", self.shots, least=0)
        classes.numbers(labels)
        return labels, classes

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The file of class names, where one is given."""
        return files_of_names(self.classes)
