"""How an evaluation asks: a long wait tells how far it is; what of an image patches are."""

import numpy as np
import pytest

from distillkit import extract
from distillkit.evaluation.asked import asked_of
from distillkit.evaluation.embed import Pace
from distillkit.evaluation.encode import Student, Teacher
from distillkit.pixels.views import unpacked
from distillkit.recipe import Component
from distillkit.store.format.field import PARAMETERS
from distillkit.store.reading.reader import FeatureStore
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
