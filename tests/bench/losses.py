"""Every loss, forward and backward, against the matrix products and softmaxes that it cannot avoid, done bare.

Of scores between two batches of features: one product forward, one back for every side that is trained; a softmax for
every direction that is compared, of the student (with its way back) and of the teacher. GD has four more products each,
FD has none but its projections', and normalisations instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from distillkit.recipe.registry import resolve
from distillkit.system import cpu
from distillkit.types import Batch, Features, Widths
from tests.bench.measure import Row, compare

GOAL = 1.5
FIELDS = ("image", "text", "caption", "cls")


@dataclass(frozen=True)
class Term:
    """A loss, and what it cannot avoid: products [B, D] x [D, B], softmaxes [B, B] of the student and of the teacher.

    `heads`: products [B, D] x [D, D/2] of what is trained beside the student.
    """

    paper: str
    kind: str
    knobs: dict[str, Any]
    products: int = 0
    trained: int = 0
    constant: int = 0
    heads: int = 0
    units: int = 0  # normalisations [B, D], of as many trained and as many constant features; where there is no product
    narrow: bool = False  # the student is half as wide as the teacher


TERMS = [
    Term("DIME-FM L_vl", "affinity", {}, products=3, trained=2, constant=2),
    Term(
        "DIME-FM L_pvl",
        "affinity",
        {"between": "image, teacher image", "temperature": 3.0, "symmetric": False},
        3,
        1,
        1,
    ),
    Term("DIME-FM L_udist", "affinity", {"between": "image, image", "temperature": 7.0}, 4, 1, 1),
    Term("CLIP", "contrastive", {"logit_scale": "student"}, 3, 2),
    Term("CLIP-KD CRD", "affinity", {"between": "image, text", "logit_scale": "own", "directions": "mean"}, 4, 2, 2),
    Term("CLIP-KD ICL", "interactive", {}, 4, 2),
    Term("CLIP-KD XKD", "interactive", {"target": "teacher"}, 5, 2, 2),
    Term("CLIP-KD FD", "feature_regression", {"field": "image and text"}, heads=6, units=2, narrow=True),
    Term("CLIP-KD GD", "gradient", {}, 20, 2, 2),
    Term("CLIP-KD AFD", "fusion", {}, 3, 2, heads=24),
    Term("TinyCLIP", "affinity", {"between": "image, text", "divergence": "cross_entropy"}, 4, 2, 2),
    Term("Proteus L_token", "token_regression", {}, heads=3, narrow=True),
    Term("OOD L_cls", "contrastive", {"text": "teacher", "directions": "rows"}, 2, 1),
    Term("OOD L_vlalign", "affinity", {"directions": "rows", "agreeing_only": True}, 3, 1, 1),
    Term("OOD L_cst", "contrastive", {"against": "teacher image"}, 2, 2),
    Term("OOD L_cap", "caption_contrast", {}, 2, 1),
    Term("SigLIP", "sigmoid", {}, 3, 1),
]


def run(folder: Path, quick: bool) -> list[Row]:
    """B = 1024, D = 768, float32."""
    cpu.settle()  # as training does
    batch, width = (32, 16) if quick else (1024, 768)
    rows = []
    for term in TERMS:
        torch.manual_seed(0)
        rows.append(
            compare(
                f"loss, B = {batch}, D = {width}: {term.paper} / its products and softmaxes",
                step(term, batch, width),
                bare(term, batch, width),
                goal=GOAL,
                unit="s",
                rounds=2 if quick else 7,
                speed=False,
            )
        )
    return rows


def step(term: Term, batch: int, width: int) -> Callable[[], None]:
    """Forward and backward of the loss itself."""
    own = width // 2 if term.narrow else width
    loss = resolve("losses", term.kind)(Widths(dict.fromkeys(FIELDS, own), dict.fromkeys(FIELDS, width)), **term.knobs)
    scale = torch.tensor(20.0)
    teacher = Features(**{name: torch.randn(batch, width) for name in FIELDS}, scale=scale)
    student = {name: torch.randn(batch, own, requires_grad=True) for name in ("image", "text", "cls")}
    labels = torch.arange(batch)

    def run_once() -> None:
        features = Features(**student, scale=scale.clone().requires_grad_())
        loss(Batch(match=labels, teacher=teacher), features).backward()

    return run_once


def bare(term: Term, batch: int, width: int) -> Callable[[], None]:
    """The products and softmaxes alone."""
    wide, head = torch.randn(batch, width), torch.randn(width, width // 2)
    scores = torch.randn(batch, batch)
    given = torch.randn(batch, batch)

    def softmax(x: Tensor) -> None:
        x = x.detach().requires_grad_()
        x.log_softmax(1).backward(given)

    def run_once() -> None:
        for _ in range(term.products):
            wide.detach() @ wide.detach().T
        for _ in range(term.heads):
            wide.detach() @ head
        for _ in range(term.trained):
            softmax(scores)
        for _ in range(term.constant):
            scores.log_softmax(1)
        for _ in range(term.units):
            F.normalize(wide.requires_grad_(), dim=-1).backward(wide.detach())
            F.normalize(wide.detach(), dim=-1)

    return run_once
