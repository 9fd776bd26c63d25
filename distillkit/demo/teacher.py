"""The demo's teacher: two pretrained towers and two learned projections, as an ordinary open_clip folder.

From then on it is loaded by the code that loads any other: `open_clip.create_model("local-dir:<folder>")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip.model import CustomTextCLIP
from safetensors.torch import load_file, save
from torch import Tensor

from distillkit.demo import manifest
from distillkit.demo.concepts import Concepts, Corpus
from distillkit.demo.drawings import HANDS
from distillkit.demo.network import assembled
from distillkit.demo.projections import Projections, Settings, learn
from distillkit.demo.teacher_config import CONFIG, config_for
from distillkit.system.atomic import atomic_folder, write_json

WEIGHTS = "open_clip_model.safetensors"


def build(
    folder: Path, features: Path, corpus: Corpus, hands: tuple[str, ...], lacking: Mapping[str, set[str]]
) -> dict[str, dict[str, float]]:
    """Make a teacher whose projections learn from the seen concepts, as drawn by `hands`.

    Returns what it knows of the unseen concepts in either hand (`evaluate`), by the table's name; of images that the
    tables have, without those that are `lacking` there.
    """
    found = load_file(features)
    concepts, images = len(corpus.seen), sum(map(len, corpus.seen.values()))
    made = learn(
        torch.cat([found[hand][:images] for hand in hands]),
        _labels(corpus.seen).repeat(len(hands)),
        found["texts"][:, :concepts],
        Settings(**manifest.load()["projection"]),
    )
    label, names = _labels(corpus.unseen), found["texts"][:, -len(corpus.unseen) :]
    tables = dict(zip(HANDS, ("unseen", "unseen restyled"), strict=True))
    keys, result = [key for listed in corpus.unseen.values() for key in listed], {}
    for hand, table in tables.items():
        there = torch.tensor([key not in lacking[hand] for key in keys])
        result[table] = evaluate(made, found[hand][-len(label) :][there], label[there], names)
    with atomic_folder(folder) as partial:
        # Built from the folder that is being filled; the configuration written for good names the final one.
        model = assembled(partial)
        _put(model, made)
        write_json(partial / CONFIG, config_for(folder))
        write_json(partial / "evaluation.json", result)
        weights = save({name: value.contiguous() for name, value in model.state_dict().items()})
        (partial / WEIGHTS).write_bytes(weights)  # not by safetensors, which tells of a full disk in its own words
    return result


def evaluate(made: Projections, images: Tensor, label: Tensor, texts: Tensor) -> dict[str, float]:
    """Image-to-text recall over the unseen names: images [n, e], label [n], texts [m, c, w] with m prompts averaged.

    "R@k" counts images, "R@k.concepts" gives every concept the same weight (skin tones make some concepts six images).
    """
    each = F.normalize(texts @ made.text.T, dim=-1)
    scores = F.normalize(images @ made.image.T, dim=-1) @ F.normalize(each.mean(0), dim=-1).T
    rank = (scores > scores.gather(1, label[:, None])).sum(1)
    weight = 1 / torch.bincount(label)[label]
    result = {"images": float(len(images)), "names": float(texts.shape[1])}
    for k in (1, 5, 10):
        hit = (rank < k).float()
        result |= {f"R@{k}": float(hit.mean()), f"R@{k}.concepts": float((hit * weight).sum() / weight.sum())}
    return result


def _labels(concepts: Concepts) -> Tensor:
    return torch.tensor([number for number, keys in enumerate(concepts.values()) for _ in keys])


def _put(model: CustomTextCLIP, made: Projections) -> None:
    with torch.no_grad():
        model.visual.head.proj.weight.copy_(made.image)
        model.text.proj.weight.copy_(made.text)
        model.logit_scale.copy_(made.logit_scale)
