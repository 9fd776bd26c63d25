"""Retrieval with few shots at other sizes than the golden ones."""

import torch

from distillkit.evals._tip import few_shot_logits


def test_a_shot_that_is_the_image_adds_one():
    axes = torch.eye(3)
    logits = few_shot_logits(2 * axes[:1], axes[:2], axes[[0, 2, 1]], torch.tensor([0, 0, 1]), alpha=1, beta=100)
    torch.testing.assert_close(logits, torch.tensor([[1.0 + 1.0, 0.0]]))
