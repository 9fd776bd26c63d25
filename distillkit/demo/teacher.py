"""The demo's teacher: two pretrained towers and two learned projections, as an ordinary open_clip folder.

From then on it is loaded by the code that loads any other: `open_clip.create_model("local-dir:<folder>")`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CustomTextCLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor

from distillkit.demo import manifest
from distillkit.demo.concepts import Concepts, Corpus
from distillkit.demo.images import image_path
from distillkit.demo.projections import Projections, Settings, learn
from distillkit.demo.teacher_config import CONFIG, config_for, preprocessing
from distillkit.demo.towers import image_features, load_image_tower, load_text_tower, text_features
from distillkit.system.atomic import atomic_folder, write_json

WEIGHTS = "open_clip_model.safetensors"
Say = Callable[[str], None]


def build(root: Path, corpus: Corpus, say: Say) -> dict[str, float]:
    """Make `root`/teacher from the prepared images; returns what it knows of the unseen concepts (`evaluate`)."""
    folder = root / "teacher"
    with atomic_folder(folder) as partial:
        _copy_tokenizer(partial)
        # Built from the folder that is being filled; the configuration written for good names the final one.
        model = _untrained(config_for(partial)).eval()
        write_json(partial / CONFIG, config_for(folder))
        load_image_tower(model.visual.trunk)
        load_text_tower(model.text.transformer)
        tokenize = open_clip.get_tokenizer(f"local-dir:{partial}")
        transform = image_transform_v2(PreprocessCfg(size=model.visual.image_size, **preprocessing()), is_train=False)
        files = [root / image_path(key) for key in corpus.images]
        images = image_features(model.visual.trunk, transform, files, say)
        texts = _prompts(model.text, tokenize, [*corpus.seen, *corpus.unseen], say)

        learned_images = sum(map(len, corpus.seen.values()))
        made = learn(
            images[:learned_images],
            _labels(corpus.seen),
            texts[:, : len(corpus.seen)],
            Settings(**manifest.load()["projection"]),
        )
        _put(model, made)
        result = evaluate(made, images[learned_images:], _labels(corpus.unseen), texts[:, len(corpus.seen) :])
        write_json(partial / "evaluation.json", result)
        _save(model, partial / WEIGHTS)
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


def _prompts(encoder: Any, tokenize: Any, names: list[str], say: Say) -> Tensor:
    """[m, c, w]: the bare name first, then CLIP's seven best templates."""
    templates = [str, *open_clip.SIMPLE_IMAGENET_TEMPLATES]
    spoken = [template(name) for template in templates for name in names]
    return text_features(encoder, tokenize, spoken, say).reshape(len(templates), len(names), -1)


def _labels(concepts: Concepts) -> Tensor:
    return torch.tensor([number for number, keys in enumerate(concepts.values()) for _ in keys])


def _untrained(config: dict[str, Any]) -> CustomTextCLIP:
    model = config["model_cfg"]
    return CustomTextCLIP(**model | {"text_cfg": model["text_cfg"] | {"hf_model_pretrained": False}})


def _put(model: CustomTextCLIP, made: Projections) -> None:
    with torch.no_grad():
        model.visual.head.proj.weight.copy_(made.image)
        model.text.proj.weight.copy_(made.text)
        model.logit_scale.copy_(made.logit_scale)


def _save(model: CustomTextCLIP, path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)


def _copy_tokenizer(folder: Path) -> None:
    source = manifest.package_folder("text_tower") / "model"
    for name in manifest.load()["text_tower"]["files"]:
        shutil.copyfile(source / name, folder / name)
