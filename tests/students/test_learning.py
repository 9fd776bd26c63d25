"""Students learn together with the losses of the papers that want them; the fields are those that the losses need."""

import pytest
import torch

from distillkit.recipe import Component, Term
from distillkit.training.objective import Objective
from distillkit.types import Batch, Features, Widths
from tests.students.small import IMAGES, PAIR, TEXTS

PAIRED = [
    {"kind": "contrastive", "logit_scale": "student"},
    {"kind": "affinity", "between": "image, text", "logit_scale": 50.0},
]
VIT = {"model": "vit_tiny_patch16_224", "image_size": 32, "options": {"embed_dim": 24, "depth": 2, "num_heads": 3}}


@pytest.mark.parametrize(
    ("student", "losses"),
    [
        ({"kind": "timm_image", **VIT, "embed_dim": 8}, [{"kind": "affinity"}]),
        ({"kind": "timm_image", **VIT, "classes": 5}, [{"kind": "label_kd"}]),
        (
            {"kind": "timm_image", **VIT, "tokens": True},
            [{"kind": "token_regression", "name": level, "level": level} for level in ("token", "feature", "patch")],
        ),
        ({"kind": "openclip_image", "model": PAIR}, [{"kind": "feature_regression"}]),
        ({"kind": "openclip_text", "model": PAIR}, [{"kind": "feature_regression", "field": "text"}]),
        ({"kind": "openclip_pair", "model": PAIR}, PAIRED),
        (
            {"kind": "openclip_pair", "model": PAIR, "drop_patches": 0.5},
            [*PAIRED, {"kind": "feature_regression", "field": "image and text", "masked": True}],
        ),
        ({"kind": "openclip_slim", "model": PAIR, "masks": True}, [*PAIRED, {"kind": "sparsity"}]),
    ],
    ids=["timm", "classes", "tokens", "image", "text", "pair", "pair with drops", "slim"],
)
def test_the_losses_of_a_batch_fall(student, losses):
    torch.manual_seed(0)
    student = Component(**student).build("students").train()
    shapes = {"image": (3, 8), "text": (3, 8), "cls": (3, 6), "patches": (3, 4, 6), "logits": (3, 5)}
    teacher = Features(**{name: torch.randn(shape) for name, shape in shapes.items()}, scale=torch.tensor(50.0))
    widths = Widths(student.widths, {name: shape[-1] for name, shape in shapes.items()} | {"scale": 1})
    objective = Objective([Term(**loss) for loss in losses], widths)
    tokens = student.tokenize(TEXTS) if "text" in student.widths else None
    mask = torch.tensor([[True, True, False, False]] * 3)
    optimizer = torch.optim.AdamW([*student.parameters(), *objective.parameters()], lr=2e-3)
    totals = []
    for step in range(40):
        batch = Batch(pixels=IMAGES, tokens=tokens, match=torch.arange(3), mask=mask, teacher=teacher, step=step)
        total, _ = objective(batch, student(batch))
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.9 * sum(totals[:5])
