"""Few-shot retrieval, training-free: class prompts, and how near an image is to a few labelled images of each class.

The labelled ones are the *teacher's* features, of every view that the store holds of them; see _tip.py for the formula.
OOD distillation, https://arxiv.org/abs/2307.03135, whose code counts augmented copies as images: its 5 shots are one
image in 10 views. Here shots are images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from distillkit.evals._answers import Answers
from distillkit.evals._class_order import as_prompted
from distillkit.evals._classes import Classes, class_embeddings, prompt_names, prompted
from distillkit.evals._classified import classified
from distillkit.evals._encode import Encode, OpenStore, blank, of_images
from distillkit.evals._held import learned_from
from distillkit.evals._labels import Labels, files_of_names, images_with, labels_of, labels_of_images
from distillkit.evals._ranking import one_right, ranked_by
from distillkit.evals._shots import all_are_shots, shots_of
from distillkit.evals._tip import few_shot_logits


class FewShot:
    """`store`: a store of images with labels, or class names. `prompts`: a store of class prompts.

    `shots`: how many labelled images of each class are used; they are not measured. `seed`: decides which images are
    the shots. `alpha`: the weight of the labelled images in the score; 0: prompts alone. `beta`: how fast a labelled
    image's weight falls with its distance 1 - cosine. `scale`: the factor of the prompts' cosines in the score.
    """

    def __init__(
        self,
        *,
        store: str,
        prompts: str,
        classes: str | None = None,
        first_class: int = 0,
        shots: int = 5,
        seed: int = 0,
        alpha: float = 1.0,
        beta: float = 5.5,
        scale: float = 1.0,
        name: str | None = None,
    ):
        self.store, self.prompts, self.classes, self.name = store, prompts, classes, name or "few_shot"
        self.first_class = first_class
        self.shots, self.seed, self.alpha, self.beta, self.scale = shots, seed, alpha, beta, scale

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Accuracies of the images that are no shots, each with its 95 % interval and chance."""
        shown, asked, classes = self.check(open_store)
        shown = learned_from(shown, encode)
        store, label = open_store(self.store), classes.numbers(asked)
        prompts = open_store(self.prompts)
        texts = class_embeddings(prompts, encode)
        views = store.read(of_images(store), store.ok_rows[shown.places]).float()
        views = views[:, None] if views.ndim == 2 else views
        said, of = encode(store)[asked.places].float(), classes.numbers(shown).repeat_interleave(views.shape[1])
        knobs = {"alpha": self.alpha, "beta": self.beta, "scale": self.scale}
        found = ranked_by(
            lambda a, b: few_shot_logits(said[a:b], texts, views.flatten(0, 1), of, **knobs),
            len(label),
            len(classes),
            one_right(label, len(classes)),
            blank(encode),
        )
        names, facts = prompt_names(prompts, classes), {"shots": float(self.shots)}
        return classified(store, asked, label, classes, found, names=names, facts=facts)

    def check(self, open_store: OpenStore) -> tuple[Labels, Labels, Classes]:
        """The images that are shown, those that are asked, and the classes; StoreError for labels of no use."""
        store = open_store(self.store)
        knobs = (self.classes, self.first_class)
        prompts = open_store(self.prompts)
        labels, classes = as_prompted(labels_of_images(store, *knobs), prompts), prompted(prompts)
        # Several ids of one name are one class, with as many shots as any other.
        one_id_each = replace(labels, ids=classes.first_ids[classes.numbers(labels).numpy()])
        places = shots_of(store, one_id_each, self.shots, self.seed)
        # Training with few shots chooses among all rows: what it saw is asked no more, by whatever row.
        trained = images_with(store, shots_of(store, labels_of(store, *knobs), self.shots, self.seed))
        asked = labels.but(np.union1d(places, trained))
        if not len(asked.places):
            raise all_are_shots(store, "few_shot", self.shots, least=1)
        return labels.but(np.setdiff1d(labels.places, places)), asked, classes

    def counted_now(self, open_store: OpenStore) -> dict[str, str]:
        """What answers of an older version are known by, where it took shots of each id of a class."""
        return {"shots": "of each name"} if prompted(open_store(self.prompts)).noted else {}

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The file of class names, where one is given."""
        return files_of_names(self.classes)
