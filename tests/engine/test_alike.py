"""A teacher whose vectors are all the same is told of; one that tells images apart is not."""

import numpy as np
import pytest
import torch

from distillkit.engine.alike import told_of_alike
from distillkit.store.reading.reader import FeatureStore


class Store:
    """As much of a store as is looked at: one field of vectors."""

    path, feature_names = "stores/mine", ["a/image"]

    def __init__(self, vectors):
        self.vectors = vectors
        self.fields = {"a/image": type("Field", (), {"view_shape": vectors.shape[1:], "per_view": False})}

    def rows_with(self, name):
        return np.arange(len(self.vectors))

    def read(self, name, rows, view=None):
        return self.vectors[torch.from_numpy(rows)]


@pytest.mark.parametrize(("apart", "told"), [(0.0, True), (0.02, True), (0.5, False), (3.0, False)])
def test_what_hardly_differs_is_told(apart, told):
    vectors = torch.ones(600, 32) + apart * torch.randn(600, 32, generator=torch.Generator().manual_seed(0))
    lines = list(told_of_alike(Store(vectors)))
    assert [line.startswith("stores/mine: a/image: 300 rows that were looked at are nearly one") for line in lines] == (
        [True] if told else []
    )


def test_a_few_rows_may_be_alike():
    assert not list(told_of_alike(Store(torch.ones(7, 32))))


def test_vectors_without_length_are_told_too():
    assert list(told_of_alike(Store(torch.full((20, 4), torch.nan))))


def test_numbers_that_are_no_vectors_are_left_alone(toy_stores):
    store = FeatureStore(toy_stores / "out/images")
    assert all("nearly one vector" in line for line in told_of_alike(store))  # whatever a toy has learned, it is read
