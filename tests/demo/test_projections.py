"""Two linear maps over features whose right answer is known."""

from dataclasses import replace

import pytest
import torch

from distillkit.demo.projections import Settings, learn
from distillkit.demo.teacher import evaluate

SETTINGS = Settings(
    width=8, seed=0, epochs=20, batch=64, lr=1e-3, weight_decay=0.1, ridge_image=0.1, ridge_text=0.1, logit_scale=14.0
)


@pytest.fixture(scope="module")
def world():
    """100 concepts: images and texts are two noisy linear looks at the same 8 numbers; the first 60 have two images."""
    torch.manual_seed(0)
    meaning = torch.randn(100, 8)
    concept = torch.cat([torch.arange(100), torch.arange(60)])
    images = meaning[concept] @ torch.randn(8, 40) + 0.1 * torch.randn(160, 40)
    texts = (meaning @ torch.randn(8, 30)).expand(2, -1, -1) + 0.1 * torch.randn(2, 100, 30)
    return images, concept, texts


def test_concepts_not_learned_from_are_found(world):
    images, concept, texts = world
    learned = concept < 70
    made = learn(images[learned], concept[learned], texts[:, :70], SETTINGS)
    assert made.image.shape == (8, 40)
    assert made.text.shape == (8, 30)
    result = evaluate(made, images[~learned], concept[~learned] - 70, texts[:, 70:])
    assert result["names"] == 30
    assert result["R@1"] > 0.9  # chance 0.033


def test_the_seed_decides_every_bit(world):
    first, again = learn(*world, SETTINGS), learn(*world, SETTINGS)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.text, again.text)
    assert torch.equal(first.logit_scale, again.logit_scale)
    assert not torch.equal(first.image, learn(*world, replace(SETTINGS, seed=1)).image)


def test_recall_by_hand():
    """Two concepts, three images; the second concept's only image looks like the first."""
    from distillkit.demo.projections import Projections

    same = Projections(torch.eye(2), torch.eye(2), torch.tensor(0.0))
    images, label = torch.tensor([[1.0, 0.0], [2.0, 0.1], [1.0, 0.2]]), torch.tensor([0, 0, 1])
    result = evaluate(same, images, label, torch.eye(2)[None])
    assert result["R@1"] == pytest.approx(2 / 3)
    assert result["R@1.concepts"] == pytest.approx(1 / 2)
    assert result["R@5"] == 1.0
