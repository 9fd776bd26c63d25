"""Texts per second with batches by length against same-size batches in corpus order, both cut to their longest."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import open_clip
import torch
from timm.data import ImageNetInfo

from distillkit.engine.shown import by_length
from tests.bench.measure import Row, compare


def run(folder: Path, quick: bool) -> list[Row]:
    """A real CLIP text tower (the size of ViT-B/32's, random weights) over prompts and definitions of ImageNet-21k."""
    torch.manual_seed(0)
    config = open_clip.get_model_config("ViT-B-32")["text_cfg"] | {"layers": 2 if quick else 6}
    teacher = _teacher(folder, config)
    info = ImageNetInfo("imagenet21k")
    step = 2000 if quick else 60
    texts = []
    for place in range(0, info.num_classes(), step):
        name = info.index_to_description(place).split(",")[0]
        texts += [f"a photo of a {name}.", info.index_to_description(place, detailed=True)]
    tokens, lengths = teacher.tokenize(texts)

    def run_batches(batches: list[torch.Tensor]) -> None:
        for batch in batches:
            teacher.forward(tokens=tokens[batch, : int(lengths[batch].max())])

    size = 8 if quick else 64
    sorted_batches = list(by_length(lengths, size))
    plain_batches = list(torch.arange(len(texts)).split(size))
    return [
        compare(
            "text extraction: batches by length / batches in corpus order",
            partial(run_batches, sorted_batches),
            partial(run_batches, plain_batches),
            goal=2.0,
            amount=len(texts),
            unit="texts/s",
            rounds=2 if quick else 5,
        )
    ]


def _teacher(folder: Path, text_config: dict[str, object]):
    import json

    from open_clip.model import CLIP
    from safetensors.torch import save_file

    from distillkit.teachers.openclip import Openclip

    config = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": text_config,
    }
    place = folder / "text-teacher"
    place.mkdir()
    (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(CLIP(**config).state_dict(), place / "open_clip_model.safetensors")
    return Openclip(model=f"local-dir:{place}", device="cpu")
