"""How an evaluation asks: a long wait tells how far it is; what of an image patches are."""

import json

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from distillkit import evaluate_teacher, extract
from distillkit.errors import MissingExtra, RecipeError
from distillkit.evaluation.asked import asked_of
from distillkit.evaluation.embed import Pace
from distillkit.evaluation.encode import Student, Teacher
from distillkit.originals import Originals
from distillkit.pixels.pillow import Header
from distillkit.pixels.views import unpacked
from distillkit.recipe import Component
from distillkit.store.format.field import PARAMETERS
from distillkit.store.reading.reader import FeatureStore
from distillkit.stores import view
from tests.conftest import draw
from tests.embedding.conftest import STUDENTS
from tests.teachers.test_timm import make_dino


def test_of_texts_it_is_told_how_far_they_are(toy_stores, every_step):
    said, store = [], FeatureStore(toy_stores / "out/texts")
    student = Component(**STUDENTS["pair"]).build("students")
    found = Student(lambda: student, {}, Pace(batch=8, say=said.append)).texts(store, store.ok_rows[:20])
    assert found.shape == (20, 32) and len(said) == 2
    assert said[0].startswith(f"{store.path}: texts 8/20  ") and said[1].startswith(f"{store.path}: texts 16/20  ")


def test_a_teacher_tells_what_of_an_image_its_patches_are(tmp_path):
    """timm's crop_pct is the middle of the square, a view that was drawn is itself, and a student sees the square."""
    teacher = f'[teacher]\nkind = "timm"\nmodel = "local-dir:{make_dino(tmp_path / "dino")}"\nimage_size = 28\n'
    source = f'source = {{ kind = "folder", root = "{draw(tmp_path / "corpus", 4)}" }}\nfields = ["cls", "patches"]\n'
    views = "[corpora.views]\ncount = 1\nclean_first = false\n"
    for name, more in (("clean", ""), ("drawn", views)):
        places = f'name = "{name}"\nout = "{tmp_path}/{name}"\n'
        (tmp_path / f"{name}.toml").write_text(f'{places}{teacher}[[corpora]]\nname = "images"\n{source}{more}')
        extract(tmp_path / f"{name}.toml", lambda line: None)
    clean, drawn = (FeatureStore(tmp_path / name / "images") for name in ("clean", "drawn"))
    assert Teacher().looked(clean, clean.ok_rows)(0, 60, 40).box == pytest.approx(
        (14 / 60, 0.1, 46 / 60, 0.9), abs=0.02
    )
    kept = drawn.read(PARAMETERS, drawn.ok_rows, view=np.zeros(4, np.int64)).numpy()
    assert [Teacher().looked(drawn, drawn.ok_rows)(n, 60, 40) for n in range(4)] == [unpacked(row) for row in kept]
    assert Student(lambda: None, {}).looked(drawn, drawn.ok_rows) is None
    agreement = [Component(kind="agreement", store="s")]
    told = [asked_of(agreement, {"s": one}.__getitem__, one.teacher("cls"), "x")[0].remarks for one in (clean, drawn)]
    assert told[0] == () and told[1][0].startswith(f"{drawn.path}: holds drawn views alone, so the teacher is measured")


class Looks(torch.nn.Module):
    """Says of each patch its colour."""

    image_size, widths = 64, {"image": 3}

    def __init__(self):
        super().__init__()
        self.none = torch.nn.Parameter(torch.zeros(1))

    def embed_tokens(self, pixels):
        cells = torch.nn.functional.avg_pool2d(pixels.float() / 255 - 0.5, 8)
        return cells.mean((2, 3)), cells.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("kind", ["patch_knn", "linear_segmentation", "linear_depth"])
def test_a_mask_lies_as_its_photograph_is_looked_at(tmp_path, kind):
    """Drawn on the pixels as they lie in the file, or on what is looked at: the same answers, and these are right."""
    random, camera = np.random.default_rng(0), Image.Exif()
    camera[ExifTags.Base.Orientation] = 6
    for number in range(8):
        lying = random.integers(0, 2, (8, 12)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        for part in ("corpus/a", "lying/a", "upright/a"):
            (tmp_path / part).mkdir(parents=True, exist_ok=True)
        shown = Image.fromarray(lying * 255).convert("RGB")
        shown.save(tmp_path / f"corpus/a/{number}.jpg", quality=95, exif=camera)
        Image.fromarray(lying + 1).save(tmp_path / f"lying/a/{number}.png")
        Image.fromarray(np.rot90(lying + 1, -1)).save(tmp_path / f"upright/a/{number}.png")
    (tmp_path / "x.toml").write_text(
        f'name = "x"\nout = "{tmp_path}/out"\n[teacher]\nkind = "timm"\n'
        f'model = "local-dir:{make_dino(tmp_path / "dino")}"\nimage_size = 28\n[[corpora]]\nname = "images"\n'
        f'source = {{ kind = "folder", root = "{tmp_path}/corpus" }}\nfields = ["cls"]\n'
    )
    extract(tmp_path / "x.toml", lambda line: None)
    for name, rows in (("train", "0:4"), ("store", "4:8")):
        view(tmp_path / "out/images", tmp_path / name, rows=rows)
    knobs = {"train": str(tmp_path / "train"), "store": str(tmp_path / "store"), "side": 64}
    knobs |= {"unit": 1.0, "bins": 8, "steps": 40} if kind == "linear_depth" else {"classes": 2, "first_class": 1}
    knobs |= {"steps": 100, "rate": 0.05} if kind == "linear_segmentation" else {}
    found = []
    for masks in ("lying", "upright"):
        measure = Component(kind=kind, masks=str(tmp_path / masks), **knobs).build("evals")
        found.append(measure.run(Student(Looks, {}), FeatureStore)[0].columns)
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])
    assert kind == "linear_depth" or found[0]["right"].mean() > 0.95


@pytest.fixture
def lying(tmp_path):
    """Photographs of a camera that was held upright, masks that lie as they do, and a DINO's store of both halves."""
    random, camera = np.random.default_rng(0), Image.Exif()
    camera[ExifTags.Base.Orientation] = 6
    for folder in ("corpus", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(8):
        pixels = random.integers(0, 2, (4, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        shown = Image.fromarray(pixels * 255).convert("RGB")
        shown.save(tmp_path / f"corpus/{number}.jpg", quality=95, exif=camera)
        Image.fromarray(pixels).save(tmp_path / f"masks/{number}.png")
    (tmp_path / "x.toml").write_text(
        f'name = "x"\nout = "{tmp_path}/out"\n[teacher]\nkind = "timm"\n'
        f'model = "local-dir:{make_dino(tmp_path / "dino")}"\nimage_size = 28\n[[corpora]]\nname = "images"\n'
        f'source = {{ kind = "folder", root = "{tmp_path}/corpus" }}\nfields = ["cls", "patches"]\n'
    )
    extract(tmp_path / "x.toml", lambda line: None)
    for name, rows in (("train", "0:4"), ("store", "4:8")):
        view(tmp_path / "out/images", tmp_path / name, rows=rows)
    (tmp_path / "evals.toml").write_text(
        f'[[evals]]\nkind = "patch_knn"\ntrain = "{tmp_path}/train"\nstore = "{tmp_path}/store"\n'
        f'masks = "{tmp_path}/masks"\nclasses = 2\nside = 16\n'
    )
    return tmp_path


def test_answers_of_a_teacher_stay_where_its_images_are_gone(lying):
    """They were made anew of masks as they lie in their files, without a word. And a DINO could not be asked at all: of
    its store it was said that there are no texts.
    """

    def measured(out, overrides=()):
        said = []
        found = evaluate_teacher(lying / "store", lying / "evals.toml", lying / out, said.append, overrides=overrides)
        return json.loads(found.read_text())["results"], said

    whole, said = measured("runs/a")
    assert not any("taken as they lie" in line for line in said)
    (lying / "corpus").rename(lying / "elsewhere")
    assert measured("runs/a")[0] == whole
    other, said = measured("runs/b")
    assert other != whole and sum("4 of 4 masks" in line and "are taken as they lie" in line for line in said) == 2
    roots = ", ".join(f'"{lying}/{name}" = "{lying}/elsewhere"' for name in ("train", "store", "out/images"))
    moved, said = measured("runs/c", overrides=[f"roots={{ {roots} }}"])  # which was heard of runs alone
    assert moved == whole and not any("taken as they lie" in line for line in said)
    (lying / "elsewhere").rename(lying / "corpus")
    assert measured("runs/b")[0] == whole


@pytest.mark.parametrize("gone", [RecipeError("no such kind"), MissingExtra("datasets", "datasets")])
def test_who_reads_the_images_need_not_be_there_to_measure_a_teacher(lying, monkeypatch, gone):
    def refused(*what):
        raise gone

    monkeypatch.setattr("distillkit.originals.resolve", refused)
    store = FeatureStore(lying / "store")
    assert Teacher().headers(store, store.ok_rows) == [None] * 4


def test_a_header_is_looked_at_once_as_long_as_a_store_is_open(lying, monkeypatch):
    """By the teacher, the student and the baseline: behind a URL each would have fetched all images."""
    looked, header = [], Originals.header
    monkeypatch.setattr(Originals, "header", lambda self, row: looked.append(row) or header(self, row))
    store = FeatureStore(lying / "store")
    for who in (Teacher(), Student(Looks, {}), Teacher()):
        assert who.headers(store, store.ok_rows) == [Header(48, 32, 6)] * 4
    assert sorted(looked) == store.ok_rows.tolist()
    assert Teacher().headers(FeatureStore(lying / "store"), store.ok_rows[:1]) == [Header(48, 32, 6)]
    assert len(looked) == 5
