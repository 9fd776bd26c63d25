"""Batches are a pure function of the step, and carry what the losses need and no more."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distillkit import training
from distillkit.errors import RecipeError, TrainError
from distillkit.recipe import Augment, Data, Mask
from distillkit.store.reading.reader import FeatureStore
from distillkit.training.batches import Batches


def student(**extra):
    return SimpleNamespace(**({"image_size": 16} | extra))


@pytest.fixture
def stores(recipes, run_cli, tmp_path):
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    return tmp_path / "out"


def same(one, other):
    fields = ("image", "text", "scale")
    return (
        one.keys == other.keys
        and torch.equal(one.pixels, other.pixels)
        and all(torch.equal(getattr(one.teacher, name), getattr(other.teacher, name)) for name in fields)
    )


@pytest.mark.parametrize("order", ["random", "blocks"])
def test_a_batch_depends_on_its_step_and_the_seed_alone(stores, order):
    data = Data(images=str(stores / "images"), texts=str(stores / "texts"), batch_size=16, order=order)
    batches, again = Batches(data, 0, student()), Batches(data.model_copy(update={"workers": 3}), 0, student())
    streamed = list(again.stream(2, 7))
    assert all(same(batches.at(step), batch) for step, batch in enumerate(streamed, start=2))
    assert not same(batches.at(2), Batches(data, 1, student()).at(2))


def test_an_epoch_sees_every_image_at_most_once_and_texts_go_round_by_themselves(stores):
    data = Data(images=str(stores / "images"), texts=str(stores / "texts"), batch_size=16, text_batch_size=50)
    batches = Batches(data, 0, student())
    assert batches.steps_per_epoch == 4
    keys = [key for step in range(4) for key in batches.at(step).keys]
    assert len(set(keys)) == 64
    texts = torch.cat([batches.at(step).teacher.text for step in range(3)])
    assert texts.shape == (150, 32) and len(texts.unique(dim=0)) == 150
    assert batches.at(0).match is None


def test_in_blocks_an_epoch_is_every_image_once_in_another_order(stores):
    data = Data(images=str(stores / "images"), batch_size=7, order="blocks")
    batches, random = Batches(data, 0, student()), Batches(data.model_copy(update={"order": "random"}), 0, student())
    epochs = [[key for step in range(first, first + 10) for key in batches.at(step).keys] for first in (0, 10)]
    assert set(epochs[0]) == set(epochs[1]) and len(set(epochs[0])) == 70 and epochs[0] != epochs[1]
    assert epochs[0] != [key for step in range(10) for key in random.at(step).keys]


@pytest.mark.parametrize(("order", "whole"), [("random", True), ("blocks", False)])
def test_what_will_be_read_is_in_memory_before(stores, order, whole, monkeypatch):
    """Random rows: the whole field, if it fits. Blocks: the pools that come next."""
    populated, paged = [], []
    monkeypatch.setattr(FeatureStore, "populate", lambda store, names: populated.append((store.path.name, *names)))
    monkeypatch.setattr(
        FeatureStore, "page_in", lambda store, names, *run: paged.append((store.path.name, *names, *run))
    )
    data = Data(images=str(stores / "images"), texts=str(stores / "texts"), batch_size=16, order=order)
    batches = Batches(data, 0, student())
    batches.narrow({"teacher.image", "teacher.text"})
    batches.prepare()
    batches.at(0)
    assert populated == ([("images", "image"), ("texts", "text")] if whole else [])
    assert {one[:2] for one in paged} == (set() if whole else {("images", "image"), ("texts", "text")})


def test_teacher_rows_belong_to_their_keys(stores):
    batches = Batches(Data(images=str(stores / "images"), captions="paired", batch_size=8), 0, student())
    batch = batches.at(3)
    rows = batches.ingredients.images[0].store.rows_of(list(batch.keys))
    assert torch.equal(batch.teacher.image, batches.ingredients.images[0].store.read("image", rows))
    assert torch.equal(batch.teacher.text, batches.ingredients.images[0].store.read("text", rows))
    assert batch.match.tolist() == list(range(8))


@pytest.mark.parametrize(("said", "shared"), [("none", False), ("paired", False), ("unique", True)])
def test_a_batch_tells_whether_every_process_has_all_of_its_texts(stores, said, shared):
    data = Data(images=str(stores / "images"), captions=said, batch_size=8)
    assert Batches(data, 0, student()).at(0).texts_shared is shared


def test_equal_captions_become_one_text(stores):
    batches = Batches(Data(images=str(stores / "images"), captions="unique", batch_size=70), 0, student())
    batch = batches.at(0)
    captions = dict(
        zip(
            batches.ingredients.images[0].store.index["key"].to_pylist(),
            batches.ingredients.images[0].store.index["text"].to_pylist(),
            strict=True,
        )
    )
    said = [captions[key] for key in batch.keys]
    assert len(batch.teacher.text) == len(set(said)) < 70
    for i, j in ((0, 1), (3, 40), (69, 2)):
        assert (said[i] == said[j]) == (batch.match[i] == batch.match[j]).item()


def test_only_what_is_needed_is_read(stores):
    batches = Batches(Data(images=str(stores / "images"), texts=str(stores / "texts"), batch_size=8), 0, student())
    assert batches.ingredients.teacher_widths == {"image": 32, "text": 32, "scale": 1}
    batches.narrow({"teacher.text", "student.image"})
    teacher = batches.at(0).teacher
    assert teacher.image is None and teacher.text is not None


def test_a_student_with_a_text_tower_gets_the_tokens_of_its_captions(stores):
    told = []
    two_towers = student(tokenize=lambda texts: told.append(texts) or torch.zeros(len(texts), 5, dtype=torch.long))
    batches = Batches(Data(images=str(stores / "images"), captions="paired", batch_size=8), 0, two_towers)
    batch = batches.at(0)
    rows = batches.ingredients.images[0].store.rows_of(list(batch.keys))
    assert batch.tokens.shape == (8, 5)
    assert told == [batches.ingredients.images[0].store.index["text"].take(rows).to_pylist()]


def test_texts_alone_train_a_text_tower(stores):
    text_tower = student(image_size=None, tokenize=lambda texts: torch.zeros(len(texts), 5, dtype=torch.long))
    batches = Batches(Data(texts=str(stores / "texts"), batch_size=16), 0, text_tower)
    batch = batches.at(1)
    assert batch.pixels is None and batch.tokens.shape == (16, 5) and batch.teacher.text.shape == (16, 32)
    rows = batches.ingredients.texts.rows_of(list(batch.keys))
    assert torch.equal(batch.teacher.text, batches.ingredients.texts.read("text", rows))


def test_half_the_batch_loses_half_its_patches(stores):
    data = Data(images=str(stores / "images"), batch_size=8, mask=Mask(ratio=0.25, share=0.5))
    batches = Batches(data, 0, student(patches=16))
    mask = batches.at(0).mask
    assert mask.shape == (8, 16) and mask.sum(1).tolist() == [4] * 4 + [0] * 4
    assert torch.equal(mask, batches.at(0).mask) and not torch.equal(mask, batches.at(1).mask)
    with pytest.raises(RecipeError, match="no patches to mask"):
        Batches(data, 0, student())


@pytest.mark.parametrize("changed", [{"flip": 0.5}, {"scale": (0.5, 1.0)}, {"ratio": (0.75, 1.0)}])
def test_patches_of_the_clean_view_are_no_other_views(stores, changed):
    clean = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
    data = Data(images=str(stores / "images"), batch_size=8, augment=Augment(**clean))
    Batches(data, 0, student(patches=16)).narrow({"teacher.patches"})
    moved = Batches(data.model_copy(update={"augment": Augment(**(clean | changed))}), 0, student(patches=16))
    moved.narrow({"teacher.image"})
    with pytest.raises(RecipeError, match="pairs patches with the teacher's, which saw the clean view"):
        moved.narrow({"teacher.patches"})


def test_repeats_make_a_longer_epoch_of_other_crops(stores):
    data = Data(images=str(stores / "images"), batch_size=70, repeats=2, augment=Augment(scale=(0.2, 0.9)))
    batches = Batches(data, 0, student())
    assert batches.steps_per_epoch == 2
    first, second = batches.at(0), batches.at(1)
    assert set(first.keys) == set(second.keys)
    again = np.argsort(np.array(second.keys))
    assert not torch.equal(first.pixels[np.argsort(np.array(first.keys))], second.pixels[again])


def test_too_large_a_batch_is_told(stores):
    data = Data(images=str(stores / "images"), texts=str(stores / "texts"), batch_size=71)
    with pytest.raises(TrainError, match=r"no batch of 71 from 70 rows; lower data\.batch_size"):
        Batches(data, 0, student())


def test_the_pixel_cache_changes_pixels_little(stores):
    data = Data(images=str(stores / "images"), batch_size=8, augment=Augment(scale=(1.0, 1.0), ratio=(1.0, 1.0)))
    plain = Batches(data, 0, student()).at(0).pixels.float()
    cached = Batches(data.model_copy(update={"pixel_cache": 64}), 0, student()).at(0).pixels.float()
    assert (plain - cached).abs().mean() < 12  # of 255, on pure noise, which resizing twice blurs most


def test_a_loop_of_your_own_finds_all_in_one_place():
    """And what does not ask for it loads no torch."""
    code = "import sys, distillkit.training as t; assert 'torch' not in sys.modules; print(*sorted(t.__all__))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert told == sorted(training.__all__)
    assert all(getattr(training, name).__name__ == name for name in told)
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = training.Trainer
