"""What an exported student is asked: real pictures and texts, of the store that its run is evaluated on.

The student looks at the middle square of a picture to a fraction of a pixel, other programs cut at whole pixels. That
towers are compared and not roundings, towers are asked about squares that are cut at whole pixels beforehand, which
everybody sees alike; the measure is taken of whole pictures, each cut by whom it is shown to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from distillkit.errors import ExportError
from distillkit.evals._classes import class_embeddings
from distillkit.evals._encode import Encode
from distillkit.evals._pairs import captions_of
from distillkit.evals.retrieval import Retrieval
from distillkit.evals.zero_shot import ZeroShot
from distillkit.originals import Originals, moved
from distillkit.recipe import TrainRecipe
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.evenly import evenly
from distillkit.system.one_image import first_of_each, has_doubles, images_of
from distillkit.system.paths import expand
from distillkit.system.wording import count

Tell = Callable[[list[str]], Float[np.ndarray, "t d"]]

LEAST = 256  # questions for a tower; of fewer, the worst says little
MOST = 2048  # more would tell little more
# What captions seldom have, and a tokenizer that is not quite the same reads otherwise.
ODD = (
    "A Photo of a CAT, with a Hat!",
    "it's the_cat's (2nd) photo: 50% of 1,234.5",
    "  two  spaces and\ta tab ",
    '"quotes" & more - or/and #tags @you [box] {x}~^`|\\+=<$>*;?',
    "Ärger ÉCOLE Straße ΣΊΣΥΦΟΣ",
    "日本語 の text 한국어 👩‍🚀",
    "a red bicycle by the wall of the old house at the end of our street " * 8,
)


class Pictures(Sequence[Image.Image]):
    """Pictures that are opened when they are asked for. `square`: cut to their middle, at whole pixels."""

    def __init__(self, places: Sequence[Any], opens: Any, square: bool = False):
        self._places, self._opens, self._square = places, opens, square

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Image.Image: ...
    @overload
    def __getitem__(self, place: slice) -> list[Image.Image]: ...
    def __getitem__(self, place: int | slice) -> Image.Image | list[Image.Image]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        image: Image.Image = self._opens(self._places[place])
        return middle(image) if self._square else image

    @property
    def squares(self) -> Pictures:
        return Pictures(self._places, self._opens, square=True)

    def first(self, count: int) -> Pictures:
        return Pictures(self._places[:count], self._opens, self._square)


def middle(image: Image.Image) -> Image.Image:
    """The middle square of an image, at whole pixels."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


@dataclass(frozen=True)
class Measure:
    """What the run is evaluated by: is the right answer among the k nearest? `right[i]`: its place, of item i.

    `answers(tell)`: a vector for each answer, by who tells texts; of None, as the teacher said. `seen()`: what the
    teacher said of the pictures, for students that see none.
    """

    ks: tuple[int, ...]
    name: str
    items: str  # what is asked about: a picture, or each of its captions by itself
    pictures: list[int]  # of each item, which of the pictures it is of
    right: Int[Tensor, "n"]
    answers: Callable[[Tell | None], Float[Tensor, "m d"]]
    seen: Callable[[], Float[Tensor, "n d"]]


@dataclass(frozen=True)
class Questions:
    pictures: Pictures
    texts: list[str]
    measure: Measure | None
    told: str  # where they are from
    public: str = ""  # the same without the way there, which goes out with a student

    def enough(self, towers: Sequence[str]) -> None:
        """ExportError where a tower would be asked too little; it says all that samples must have, of every tower."""
        kinds = {"image": "pictures", "text": "different texts (a .txt, one a line)"}
        needed = " and ".join(f"{LEAST} {kinds[tower]}" for tower in towers)
        for tower, asked in (("image", len(self.pictures)), ("text", len(self.texts))):
            if tower in towers and asked < LEAST:
                raise ExportError(
                    f"{self.told}: {asked} {'pictures' if tower == 'image' else 'different texts'} to ask the {tower} "
                    f"tower about, at least {LEAST} are needed; name a folder of more with --samples "
                    f"(it is asked in place of the stores, so it must hold {needed})"
                )


def questions_of_run(recipe: TrainRecipe, path: Path) -> Questions:
    """Of the first eval of a run that is read off pictures one by one; without one, of the first that has a store."""
    evals = [component.build("evals") for component in recipe.evals]
    if not evals:
        raise ExportError(f"{path}: its recipe has no evals, so no pictures to ask about; name a folder with --samples")
    measure = next((one for one in evals if isinstance(one, Retrieval | ZeroShot)), evals[0])
    store = open_store(measure.store, recipe)
    kept = evenly(np.arange(len(store.ok_rows)), MOST)
    # Of a picture with several captions every row is kept, and the towers are asked about it once.
    pictures = first_of_each(store, store.ok_rows[kept])
    places, more = _originals(store, kept[pictures], recipe), list[tuple[Originals, int]]()
    if len(places) < LEAST:  # the measure is of the first alone
        more = _trained_with(recipe, LEAST - len(places), but=store)
        places = places + more
    shown = Pictures(places, lambda place: place[0].open(place[1])[0])
    also = f", and {count(len(more), 'picture')} of training" if more else ""
    told, public = (f"{name}{also}" for name in (store.path, store.path.absolute().name))
    return Questions(shown, _texts(recipe, store), _measured(measure, store, kept, recipe), told, public)


def _originals(store: FeatureStore, kept: np.ndarray, recipe: TrainRecipe) -> list[tuple[Originals, int]]:
    """Where the pictures of these ok rows are."""
    images = Originals(store, moved(recipe.data).get(store.path.resolve()))
    return [(images, row) for row in store.ok_rows[kept].tolist()]


def _trained_with(recipe: TrainRecipe, count: int, but: FeatureStore | None = None) -> list[tuple[Originals, int]]:
    """`count` pictures of the corpus of training, evenly out of all; fewer where it has fewer. `but`: none of these."""
    store = open_store(recipe.data.images or recipe.data.mix[0].images, recipe)
    known = set() if but is None else set(but.values("key", but.ok_rows))
    once = first_of_each(store, store.ok_rows)
    places = evenly(once, count + len(known))
    keys = store.values("key", store.ok_rows[places])
    new = np.array([place for place, key in zip(places, keys, strict=True) if key not in known], np.int64)
    return _originals(store, evenly(new, count), recipe)


def open_store(name: str, recipe: TrainRecipe) -> FeatureStore:
    return FeatureStore(expand(name), recipe.data.teacher)


def calibration(recipe: TrainRecipe, count: int) -> Pictures:
    """Pictures of the corpus that the student was trained with: none that its measure is taken of."""
    return Pictures(_trained_with(recipe, count), lambda place: place[0].open(place[1])[0], square=True)


def _texts(recipe: TrainRecipe, store: FeatureStore) -> list[str]:
    """Different texts: of the store first, then of those that the student was trained with."""
    data = recipe.data
    found: dict[str, None] = {}
    names = (None, data.images, *(one.images for one in data.mix), data.texts, data.classes)
    for name in names:
        if name is None and found:
            continue
        source = store if name is None else open_store(name, recipe)
        rows = source.ok_rows[: 4 * MOST]
        found |= dict.fromkeys(text for text in source.index["text"].take(rows).to_pylist() if text)
        if len(found) >= LEAST:
            break
    return list(found)[:MOST]


def _measured(measure: Any, store: FeatureStore, kept: np.ndarray, recipe: TrainRecipe) -> Measure | None:
    picture = images_of(store, store.ok_rows[kept])

    def seen(asked: list[int]) -> Float[Tensor, "n d"]:
        clean = 0 if store.field("image").per_view else None
        return store.read("image", store.ok_rows[kept[asked]], view=clean).float()

    if isinstance(measure, ZeroShot):
        labels, classes = measure.check(lambda name: open_store(name, recipe))
        number = dict(zip(labels.places.tolist(), classes.numbers(labels).tolist(), strict=True))
        asked = [place for place, position in enumerate(kept.tolist()) if position in number]
        right = torch.tensor([number[int(kept[place])] for place in asked])
        prompts = open_store(measure.prompts, recipe)

        def answers(tell: Tell | None) -> Float[Tensor, "m d"]:
            return class_embeddings(prompts, Told(tell) if tell else None)

        return Measure((1, 5), "top-{}", "picture", picture[asked].tolist(), right, answers, lambda: seen(asked))
    if not isinstance(measure, Retrieval):
        return None
    said = store.index["text"].take(store.ok_rows[kept])
    code = captions_of(store, store.ok_rows[kept])
    captioned = np.flatnonzero(code >= 0)
    if not len(captioned):
        return None
    _, first, label = np.unique(code[captioned], return_index=True, return_inverse=True)
    own = captioned[first]  # of each caption, the first picture that has it
    names = said.take(own).to_pylist()

    def captions(tell: Tell | None) -> Float[Tensor, "m d"]:
        return store.read("text", store.ok_rows[kept[own]]).float() if tell is None else torch.from_numpy(tell(names))

    ks = tuple(k for k in measure.ks if k < len(names)) or (1,)
    # Of an image with several captions each is asked by itself here, which a report calls so.
    name, items = ("R@{} per row", "caption") if has_doubles(store) else ("R@{}", "picture")
    of = picture[captioned].tolist()
    return Measure(ks, name, items, of, torch.from_numpy(label), captions, lambda: seen(captioned.tolist()))


class Told(Encode):
    """Texts of a store by who tells them, as an evaluation asks."""

    def __init__(self, tell: Tell):
        self._tell = tell

    def __call__(self, store: Any) -> Float[Tensor, "n d"]:
        raise TypeError("only texts are told")

    def texts(self, store: Any, rows: np.ndarray) -> Float[Tensor, "m d"]:
        return torch.from_numpy(self._tell(store.index["text"].take(rows).to_pylist()))
