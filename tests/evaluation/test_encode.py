"""How an evaluation asks a student: a long wait tells how far it is."""

from distillkit.evaluation.embed import Pace
from distillkit.evaluation.encode import Student
from distillkit.recipe import Component
from distillkit.store.reading.reader import FeatureStore
from tests.embedding.conftest import STUDENTS


def test_of_texts_it_is_told_how_far_they_are(toy_stores, every_step):
    said, store = [], FeatureStore(toy_stores / "out/texts")
    student = Component(**STUDENTS["pair"]).build("students")
    found = Student(lambda: student, {}, Pace(batch=8, say=said.append)).texts(store, store.ok_rows[:20])
    assert found.shape == (20, 32) and len(said) == 2
    assert said[0].startswith(f"{store.path}: texts 8/20  ") and said[1].startswith(f"{store.path}: texts 16/20  ")
