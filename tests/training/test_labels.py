"""Kind A in training: class texts and few shots take the classes that exist, or refuse before the first step."""

import json

import numpy as np
import pytest
import torch

from distillkit.errors import StoreError
from distillkit.extract import extract
from distillkit.recipe import Data, Mixed
from distillkit.store.reading.reader import FeatureStore
from distillkit.students.timm_image import TimmImage
from distillkit.training.batches import Batches
from tests.conftest import draw

EXTRACT = """
name = "toy"
out = "{folder}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "jsonl", file = "{folder}/corpus/images.jsonl", image_field = "image", label_field = "label" }}
fields = ["image"]
[[corpora]]
name = "prompts"
source = {{ kind = "jsonl", file = "{folder}/prompts.jsonl", label_field = "label", key_field = "label" }}
fields = ["text"]
"""
IDS = [1440764, 1443537, 2**31]


@pytest.fixture
def stores(tmp_path, teacher_folder):
    """A store of a dozen images with these labels, and one of prompts, each by its label."""

    def made(labels, prompts):
        images = sorted((draw(tmp_path / "corpus", 12) / "images").iterdir())
        lines = [{"image": f"images/{path.name}", "label": one} for path, one in zip(images, labels * 12, strict=False)]
        (tmp_path / "corpus/images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        lines = [{"text": text, "label": label} for label, text in prompts]
        (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / "extract.toml").write_text(EXTRACT.format(folder=tmp_path, teacher=teacher_folder))
        extract(tmp_path / "extract.toml", lambda line: None)
        return tmp_path

    return made


def batches(folder, **knobs):
    student = TimmImage(model="mobilenetv3_small_050", image_size=32, embed_dim=32)
    images = {} if "mix" in knobs else {"images": str(folder / "images")}
    return Batches(Data(**images, classes=str(folder / "prompts"), batch_size=4, **knobs), 0, student)


def test_kind_a_class_texts_by_ids_with_holes_and_images_without_a_class(stores):
    folder = stores([IDS[0], IDS[1], None, -1], [(one, f"a photo of {one}") for one in IDS])
    made = batches(folder)
    assert made.steps_per_epoch == 1 and any(
        "6 of 12 images have no class and are left out" in note for note in made.notes
    )
    batch = made.at(0)
    assert batch.teacher.text.shape == (3, 32) and set(batch.match.tolist()) <= {0, 1}
    labels = {int(key[7:10]): [0, 1, None, None][int(key[7:10]) % 4] for key in batch.keys}
    assert batch.match.tolist() == list(labels.values())


@pytest.mark.parametrize("shots", [None, 9])
def test_an_image_has_a_turn_that_has_all_it_is_learned_by(stores, tmp_path, shots):
    """A class, where texts are classes, and a caption, where its own is learned from, too (L_cap of OOD)."""
    folder = stores([IDS[0], IDS[1], None, IDS[1]], [(one, f"a photo of {one}") for one in IDS])
    lines = [json.loads(line) for line in (folder / "corpus/images.jsonl").read_text().splitlines()]
    lines = [line | ({"text": f"number {n}"} if n % 3 else {}) for n, line in enumerate(lines)]
    (folder / "corpus/images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = (folder / "extract.toml").read_text().replace('fields = ["image"]', 'fields = ["image", "text"]')
    (folder / "more.toml").write_text(recipe.replace(f'out = "{folder}"', f'out = "{folder}/captioned"'))
    extract(folder / "more.toml", lambda line: None)
    images = str(folder / "captioned/images")
    knobs = {"mix": [Mixed(images=images, shots=shots)]} if shots else {"images": images}
    student = TimmImage(model="mobilenetv3_small_050", image_size=32, embed_dim=32)
    data = Data(**knobs, classes=str(folder / "prompts"), captions="paired", batch_size=2)
    made = Batches(data, 0, student)
    assert made.steps_per_epoch == 3  # 6 of 12: 3 have no class, 4 no caption, 1 of these neither
    seen = [made.at(step) for step in range(3)]
    numbers = [int(key[7:10]) for batch in seen for key in batch.keys]
    assert sorted(numbers) == [n for n in range(12) if n % 3 and n % 4 != 2]
    assert all((batch.match >= 0).all() and batch.teacher.caption.isfinite().all() for batch in seen)
    told = " ".join(made.notes)
    assert "4 of 12 images have no caption and are left out" in told
    assert shots or "3 of 12 images have no class and are left out" in told


def test_kind_a_labels_that_begin_at_1_are_refused_by_name_or_told(stores):
    folder = stores([1, 2, 3], [(0, "a"), (1, "b"), (2, "c")])
    with pytest.raises(StoreError, match=r"images: 4 of 12 images are of 1 class that .*prompts does not know, as 3"):
        batches(folder)
    batch = batches(folder, first_class=-1).at(0)
    assert batch.match.tolist() == [int(key[7:10]) % 3 for key in batch.keys]
    mixed = batches(folder, mix=[{"images": str(folder / "images"), "first_class": -1}]).at(0)
    assert mixed.match.tolist() == batch.match.tolist()


def test_kind_a_shots_of_ids_with_holes(stores):
    folder = stores([*IDS, None], [(one, str(one)) for one in IDS])
    made = batches(folder, mix=[{"images": str(folder / "images"), "shots": 2}])
    shown = {key for step in range(6) for key in made.at(step).keys}
    classes = np.bincount([int(key[7:10]) % 4 for key in shown])
    assert classes.tolist() == [2, 2, 2]


def test_kind_a_no_image_has_a_class(stores):
    folder = stores([None, -1], [(0, "a"), (1, "b")])
    for knobs in ({}, {"mix": [{"images": str(folder / "images"), "shots": 1}]}):
        with pytest.raises(StoreError, match="none of its 12 images has a class"):
            batches(folder, **knobs)


def test_kind_b_class_texts_of_one_name_are_one_and_told(stores):
    folder = stores([0, 1, 2], [(0, "a crane"), (1, "a ship"), (2, "a crane")])
    made = batches(folder)
    assert any("classes of equal names are one: 0 and 2" in note for note in made.notes)
    batch = made.at(0)
    assert batch.teacher.text.shape == (2, 32)
    assert batch.match.tolist() == [int(key[7:10]) % 3 % 2 for key in batch.keys]
    assert made.ingredients.text_sources[0].texts(np.arange(2)) == ["a crane", "a ship"]


def test_kind_a_no_caption_is_no_index_of_a_caption(tmp_path, teacher_folder):
    """Of 12 titles 4 are absent: each image keeps its own, and equal ones are one."""
    images = sorted((draw(tmp_path / "corpus", 12) / "images").iterdir())
    said = ["a", None, "b", "c", "", "a"] * 2
    lines = [{"image": f"images/{path.name}", "text": text} for path, text in zip(images, said, strict=True)]
    (tmp_path / "corpus/images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = EXTRACT.replace(', label_field = "label" }', " }").replace('["image"]', '["image", "text"]')
    text = text.format(folder=tmp_path, teacher=teacher_folder).rpartition("[[corpora]]")[0]
    (tmp_path / "extract.toml").write_text(text)
    extract(tmp_path / "extract.toml", lambda line: None)
    student = TimmImage(model="mobilenetv3_small_050", image_size=32, embed_dim=32)
    made = Batches(Data(images=str(tmp_path / "images"), captions="unique", batch_size=8), 0, student)
    batch, store = made.at(0), FeatureStore(tmp_path / "images")
    assert len(batch.teacher.text) == 3
    for key, place in zip(batch.keys, batch.match.tolist(), strict=True):
        row = store.rows_of([key])
        assert torch.equal(batch.teacher.text[place], store.read("text", row)[0].float())


def test_kind_a_labels_of_an_evaluation_are_refused_before_the_first_step(student, run_cli):
    """No image of the toy store has a label."""
    images, texts = student.stores / "images", student.stores / "texts"
    setting = f'evals=[{{ kind = "zero_shot", store = "{images}", prompts = "{texts}" }}]'
    code, err = student(setting)
    assert code == 1 and err.count("\n") == 1 and "has a class" in err and not student.run.exists()
    code, _, err = run_cli("recipe", "check", student.recipe, "--set", setting)
    assert code == 1 and "has a class" in err
