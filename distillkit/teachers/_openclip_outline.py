"""What an open_clip model gives, told of its image tower: the loaded one, or one that is built without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import open_clip
from open_clip.model import _build_vision_tower
from open_clip.timm_model import TimmModel
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from open_clip.transformer import VisionTransformer
from timm.models import eva, vision_transformer

from distillkit.teachers._grid import Grid
from distillkit.teachers._openclip_network import find
from distillkit.teachers._preprocess import PixelPath, Preprocess, Shows


def image_tower(name: str) -> tuple[Any, int, PreprocessCfg | None]:
    """Its image tower, built without its weights, the width of its embeddings, and its preprocessing; None of a
    repository of the hub, which tells of that when it is fetched."""
    model, tag = find(name)
    config = open_clip.get_model_config(model)
    if config is None:
        raise ValueError(f"{name}: open_clip has no configuration of it")
    vision = config["vision_cfg"] | (
        {"timm_model_pretrained": False} if "timm_model_name" in config["vision_cfg"] else {}
    )
    tower = _build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))
    if name.startswith("hf-hub:"):
        return tower, config["embed_dim"], None
    told: dict[str, Any] = (open_clip.get_pretrained_cfg(model, tag) or {}) if tag else {}
    if name.startswith("local-dir:"):
        file = Path(name.removeprefix("local-dir:")) / "open_clip_config.json"
        told = json.loads(file.read_bytes()).get("preprocess_cfg", {})
    size = {"size": tower.image_size} if hasattr(tower, "image_size") else {}
    return (
        tower,
        config["embed_dim"],
        PreprocessCfg(**merge_preprocess_dict(merge_preprocess_dict(PreprocessCfg(), told), size)),
    )


def fields_of(width: int, tokens: Grid | None) -> dict[str, list[int]]:
    """What it can say, and the shape of one row of it."""
    return {"image": [width], "text": [width]} | (tokens.fields if tokens else {})


def grid_of(tower: Any, cells: int | Literal["full"]) -> Grid | None:
    """Where the tower is a vision transformer whose tokens are patches; attention pooling may make others of them."""
    if isinstance(tower, VisionTransformer) and tower.attn_pool is None:
        return Grid(tower.grid_size, tower.conv1.out_channels, True, cells)
    trunk = tower.trunk if isinstance(tower, TimmModel) else None
    if isinstance(trunk, vision_transformer.VisionTransformer | eva.Eva):
        return Grid(trunk.patch_embed.grid_size, trunk.embed_dim, trunk.cls_token is not None, cells)
    return None


def preprocess_of(config: PreprocessCfg, pixels: PixelPath = "pil", reduced: bool = False) -> Preprocess:
    """open_clip's own evaluation transform, up to 8-bit pixels."""
    size = config.size if isinstance(config.size, tuple) else (config.size, config.size)
    shows: dict[str, Shows] = {"shortest": "centre", "squash": "whole", "longest": "padded"}
    return Preprocess.of(
        image_transform_v2(config, is_train=False),
        size=size,
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        shows=shows[config.resize_mode or "shortest"],
        pixels=pixels,
        reduced=reduced,
    )
