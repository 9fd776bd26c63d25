"""Labels as a loss: which class each image is of comes with the batch, and only images with a class have a turn."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.recipe import Component, Data, Term
from distillkit.training.batches import Batches
from distillkit.training.objective import Objective
from distillkit.types import Features
from tests.training.test_labels import IDS, stores  # noqa: F401  (a fixture)

STUDENT = {"kind": "timm_image", "model": "mobilenetv3_small_050", "image_size": 32, "embed_dim": 32}


@pytest.fixture
def made(stores):  # noqa: F811
    """Batches of a dozen images, every other of them without a class."""

    def batches(**knobs):
        folder = stores([IDS[2], None, IDS[0], -1, IDS[1], None], [(IDS[0], "a word")])
        data = Data(images=str(folder / "images"), batch_size=6, **knobs)
        return Batches(data, 0, Component(**STUDENT).build("students"))

    return batches


def test_a_batch_carries_the_classes_that_exist_counted_from_0(made):
    batches = made(labels=True)
    assert batches.widths(Component(**STUDENT).build("students")).teacher["label"] == 3
    assert any("6 of 12 images have no class and are left out" in note for note in batches.notes)
    batch = batches.at(0)
    of_number = {f"images/{n:03d}.png": {0: 2, 2: 0, 4: 1}[n % 6] for n in range(0, 12, 2)}
    assert batch.teacher.label.tolist() == [of_number[key] for key in batch.keys]
    batches.narrow({"student.image", "teacher.image"})
    assert batches.at(0).teacher.label is None


def test_the_loss_learns_them_and_its_head_is_as_wide_as_they_are_many(made):
    batches = made(labels=True)
    student = Component(**STUDENT).build("students").eval()
    objective = Objective([Term(kind="one_hot")], batches.widths(student))
    assert objective.terms["one_hot"].classifier.out_features == 3
    batches.narrow(objective.needs)
    batch = batches.at(0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.1)
    said = Features(image=torch.randn(6, 32))
    losses = []
    for _ in range(30):
        loss, _ = objective(batch, said)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_labels_that_were_not_asked_for_or_cannot_be_had(made):
    student = Component(**STUDENT).build("students")
    with pytest.raises(RecipeError, match=r"losses.one_hot needs teacher.label, .*; set data.labels = true"):
        Objective([Term(kind="one_hot")], made().widths(student))
    with pytest.raises(ValueError, match="labels go with one image store"):
        Data(images="x", batch_size=4, labels=True, captions="paired")
