"""Two linear maps that bring frozen image and text features together, learned with CLIP's loss.

    L = (CE(s x t^T, i) + CE(s t x^T, i)) / 2        x, t: projected and normalised, s: a learned scale

CLIP: https://arxiv.org/abs/2103.00020. A step holds every concept at most once, with one of its images and one of its
prompts drawn at random, so that two images of one concept are never each other's negatives. The maps start from
regularised canonical correlations (the canonical ridge of Vinod, Journal of Econometrics 4, 1976).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

MAX_SCALE = 100.0  # as in CLIP


@dataclass(frozen=True)
class Settings:
    """The table [projection] of data_manifests/demo.toml."""

    width: int
    seed: int
    epochs: int
    batch: int
    lr: float
    weight_decay: float
    ridge_image: float
    ridge_text: float
    logit_scale: float


@dataclass(frozen=True)
class Projections:
    """`image` [width, image features], `text` [width, text features], `logit_scale`: the logarithm of the scale."""

    image: Float[Tensor, "d e"]
    text: Float[Tensor, "d w"]
    logit_scale: Float[Tensor, ""]


def learn(
    images: Float[Tensor, "n e"], concept: Int[Tensor, "n"], texts: Float[Tensor, "m c w"], settings: Settings
) -> Projections:
    """The maps for n images of c concepts, `texts` holding m prompts of each; image i shows concept `concept[i]`."""
    start = _canonical_correlations(_mean_per_concept(images, concept, texts.shape[1]), texts[0], settings)
    image, text = (torch.nn.Parameter(weights) for weights in start)
    log_scale = torch.nn.Parameter(torch.tensor(math.log(settings.logit_scale)))
    groups: list[dict[str, Any]] = [{"params": [image, text]}, {"params": [log_scale], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    draws = torch.Generator().manual_seed(settings.seed)
    steps = settings.epochs * math.ceil(texts.shape[1] / settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.lr, total_steps=steps, pct_start=0.1)
    members = _members(concept, texts.shape[1])
    for _ in range(settings.epochs):
        for batch in torch.randperm(texts.shape[1], generator=draws).split(settings.batch):
            shown = torch.stack([members[c][_draw(len(members[c]), draws)] for c in batch.tolist()])
            spoken = torch.randint(len(texts), (len(batch),), generator=draws)
            x = F.normalize(images[shown] @ image.T, dim=-1)
            t = F.normalize(texts[spoken, batch] @ text.T, dim=-1)
            logits, diagonal = log_scale.exp() * x @ t.T, torch.arange(len(batch))
            loss = (F.cross_entropy(logits, diagonal) + F.cross_entropy(logits.T, diagonal)) / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            log_scale.data.clamp_(max=math.log(MAX_SCALE))
    return Projections(image.detach(), text.detach(), log_scale.detach())


def _draw(count: int, draws: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=draws))


def _members(concept: Int[Tensor, "n"], count: int) -> list[Int[Tensor, "k"]]:
    return [torch.nonzero(concept == c).squeeze(1) for c in range(count)]


def _mean_per_concept(images: Float[Tensor, "n e"], concept: Int[Tensor, "n"], count: int) -> Float[Tensor, "c e"]:
    sums = torch.zeros(count, images.shape[1]).index_add_(0, concept, images)
    return sums / torch.bincount(concept, minlength=count)[:, None]


def _canonical_correlations(
    images: Float[Tensor, "c e"], texts: Float[Tensor, "c w"], settings: Settings
) -> tuple[Float[Tensor, "d e"], Float[Tensor, "d w"]]:
    """Directions in which images and texts vary together, each weighed by the root of its correlation."""
    x, t = images - images.mean(0), texts - texts.mean(0)
    whiten_x, whiten_t = _whitening(x, settings.ridge_image), _whitening(t, settings.ridge_text)
    u, s, vh = torch.linalg.svd(whiten_x @ (x.T @ t / len(x)) @ whiten_t, full_matrices=False)
    weight = s[: settings.width].sqrt()[:, None]
    return weight * (u[:, : settings.width].T @ whiten_x), weight * (vh[: settings.width] @ whiten_t)


def _whitening(centred: Float[Tensor, "c k"], ridge: float) -> Float[Tensor, "k k"]:
    """The inverse square root of the covariance, with `ridge` times its mean eigenvalue added to every eigenvalue."""
    covariance = centred.T @ centred / len(centred)
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag((values.clamp(min=0) + ridge * values.mean()).rsqrt()) @ vectors.T
