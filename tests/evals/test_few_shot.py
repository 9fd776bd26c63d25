"""Few-shot fine-tuning: half of every batch are the few images of new classes, which no evaluation asks again."""

import numpy as np
import pytest
import torch

from distillkit.evals._labels import labels_of
from distillkit.evals._shots import shots_of
from distillkit.evals.zero_shot import ZeroShot
from distillkit.evaluation.numbers import numbers
from distillkit.extract import extract
from distillkit.recipe import Data, ExtractRecipe, load
from distillkit.store.reading.reader import FeatureStore
from distillkit.students.timm_image import TimmImage
from distillkit.training.batches import Batches
from tests.conftest import draw

EXTRACT = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "seen"
source = {{ kind = "folder", root = "{folder}/seen", classes = true }}
fields = ["image"]
[[corpora]]
name = "new"
source = {{ kind = "folder", root = "{folder}/new", classes = true }}
fields = ["image"]
[[corpora]]
name = "classes"
source = {{ kind = "class_prompts", file = "{folder}/names.txt", templates = ["a photo of {{}}"] }}
fields = ["text"]
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory, teacher_folder):
    """Two seen classes of ten images, two new ones of six; each store numbers its own from 0."""
    folder = tmp_path_factory.mktemp("few")
    images = sorted((draw(folder / "drawn", 32) / "images").iterdir())
    for place, count in (("seen/a", 10), ("seen/b", 10), ("new/c", 6), ("new/d", 6)):
        (folder / place).mkdir(parents=True)
        for _ in range(count):
            image = images.pop()
            image.rename(folder / place / image.name)
    (folder / "names.txt").write_text("a\nb\nc\nd\n")
    (folder / "extract.toml").write_text(EXTRACT.format(out=folder / "out", teacher=teacher_folder, folder=folder))
    list(extract(load(folder / "extract.toml", kind=ExtractRecipe), lambda line: None))
    return folder / "out"


@pytest.fixture
def batches(stores):
    mix = [{"images": str(stores / "seen")}, {"images": str(stores / "new"), "shots": 2, "first_class": 2}]
    data = Data(mix=mix, classes=str(stores / "classes"), batch_size=8)
    student = TimmImage(model="mobilenetv3_small_050", image_size=32, embed_dim=32)
    return Batches(data, 0, student)


def test_half_of_every_batch_are_shots_of_the_new_classes(batches):
    assert batches.steps_per_epoch == 5  # twenty seen images, four a batch
    shown = set()
    for step in range(10):
        batch = batches.at(step)
        assert (batch.match[:4] < 2).all() and (batch.match[4:] >= 2).all()
        assert batch.teacher.text.shape == (4, 32) and batch.teacher.image.shape == (8, 32)
        shown |= set(batch.keys[4:])
    assert len(shown) == 4  # two shots of each of two classes


def test_what_was_shown_is_not_asked(batches, stores):
    shown = {key for step in range(5) for key in batches.at(step).keys[4:]}
    store = FeatureStore(stores / "new")
    places = shots_of(store, labels_of(store), 2)
    assert shown == set(np.array(store.index["key"].to_pylist())[places])
    open_store = {name: FeatureStore(stores / name) for name in ("new", "classes")}.__getitem__

    class Right:
        """Knows the class of every image."""

        def __call__(self, store):
            return torch.eye(4)[torch.from_numpy(labels_of(store, first=2).ids)]

        def texts(self, store, rows):
            return torch.eye(4)[: len(rows)]

    found = numbers(ZeroShot(store="new", prompts="classes", shots=2, first_class=2).run(Right(), open_store))
    assert (found["images"], found["top-1"]) == (8.0, 1.0)
