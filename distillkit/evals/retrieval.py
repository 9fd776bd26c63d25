"""Retrieval both ways: is a right one among the k nearest of all? (recall@k)

image to text    each image once; any of its own captions is right, as papers count it
text to image    each caption once; any image that has it is right
per row          each pair of an image and a caption by itself: the other captions of the image are rivals. Told where
                 images have several captions

Equal captions are one, and so are those that differ by case or blanks only where the teacher says the same of both: its
tokenizer makes one text of them. A student with a text tower embeds the captions itself; one without keeps the
teacher's.
"""

from __future__ import annotations

import torch

from distillkit.evals._answers import Answers, Measure
from distillkit.evals._encode import Encode, OpenStore, blank
from distillkit.evals._pairs import Items, pairs_of
from distillkit.evals._ranking import Ranking, chance, one_right, own, ranked


class Retrieval:
    """`store`: a store whose rows have an image and a caption. `ks`: the numbers k of recall@k; 1, 5 and 10, if not
    given.
    """

    texts = True

    def __init__(self, *, store: str, name: str | None = None, ks: list[int] | None = None):
        self.store, self.name, self.ks = store, name or "retrieval", ks or [1, 5, 10]

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Recall at each k and the median rank (from 1), both ways, each with its 95 % interval and chance.

        `per text` lets every caption count once, however many images share it.
        """
        store = open_store(self.store)
        pairs = pairs_of(store)
        images, texts = encode(store)[pairs.image_places], encode.texts(store, store.ok_rows[pairs.text_places])
        image, text = torch.from_numpy(pairs.image), torch.from_numpy(pairs.text)
        facts = {"images": float(len(images)), "texts": float(len(texts))}
        few = blank(encode)
        there = ranked(images, texts, own(image, text, len(texts)), few=few)
        main = self._answers("", there, pairs.by_image(), len(texts), facts)
        order = torch.argsort(text, stable=True)
        back = ranked(texts, images, own(text[order], image[order], len(images)), few=few)
        other = self._answers("text to image", back, pairs.by_text(), len(images), {})
        if len(pairs.image) == len(images):
            return [main, other]
        each = ranked(images[image], texts, one_right(text, len(texts)), few=few)
        return [main, other, self._answers("per row", each, pairs.by_row(), len(texts), {"rows": float(len(text))})]

    def _answers(self, table: str, found: Ranking, items: Items, answers: int, facts: dict[str, float]) -> Answers:
        prefix, suffix = (f"{table} ", "") if table == "text to image" else ("", f" {table}" if table else "")
        measures = [
            Measure(f"{prefix}R@{k}{suffix}", "rank", within=k, chance=chance(items.right, answers, k)) for k in self.ks
        ]
        if items.shared:
            once = [
                Measure(f"R@{k} per text", "rank", within=k, once=True, chance=min(k / answers, 1.0)) for k in self.ks
            ]
            measures += once
        measures.append(Measure(f"{prefix}median rank{suffix}", "rank", how="median", more=False))
        return Answers(
            key=items.key,
            columns={"rank": found.rank, "margin": found.margin},
            measures=tuple(measures),
            target=items.target,
            group=items.group,
            best=found.best,
            names=items.names,
            table=table,
            facts=facts,
        )
