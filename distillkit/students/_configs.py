"""The papers' own students, by name, beside all that open_clip and timm know.

| names | paper | their source |
|---|---|---|
| CLIP-KD-* | https://arxiv.org/abs/2307.12732 | model_configs of github.com/winycg/CLIP-KD |
| TinyCLIP-* | https://arxiv.org/abs/2309.12314 | model_configs of github.com/microsoft/Cream, TinyCLIP |
| DIME-FM-* | https://arxiv.org/abs/2303.18232 | sections 1.1 and 1.4 of its released code |
| Proteus-* | https://arxiv.org/abs/2407.10366 | DINOv2's vision transformers with LayerScale 1 |
| OOD-* | https://arxiv.org/abs/2307.03135 | torchvision's networks, whose last layer is the projection |
"""

from __future__ import annotations

import difflib
from copy import deepcopy
from typing import Any

import open_clip
import timm

from distillkit.errors import RecipeError

Config = dict[str, Any]
_QUICK = "-quickgelu"  # behind a name of open_clip's or of a pair: with the activation that OpenAI's weights have


def _pair(vision: Config, text_width: int, text_layers: int, embed_dim: int = 512) -> Config:
    text = {"context_length": 77, "vocab_size": 49408, "width": text_width, "layers": text_layers}
    vision = {"image_size": 224, **vision}
    return {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": {**text, "heads": text_width // 64}}


def _vit(width: int, layers: int, patch: int) -> Config:
    return {"width": width, "layers": layers, "patch_size": patch}


def _resnet(width: int) -> Config:
    return {"width": width, "layers": [3, 4, 6, 3]}


def _timm(name: str) -> Config:
    return {"timm_model_name": name, "timm_pool": "", "timm_proj": "linear"}


PAIRS: dict[str, Config] = {
    "CLIP-KD-ViT-T-16": _pair(_vit(192, 12, 16), 384, 12),
    "CLIP-KD-MobileViT-S": _pair(_timm("mobilevit_s"), 384, 12),
    "CLIP-KD-Swin-T": _pair(_timm("swin_tiny_patch4_window7_224"), 384, 12),
    "CLIP-KD-MobileNetV3-Small": _pair(_timm("mobilenetv3_small_100"), 384, 12),
    "CLIP-KD-EfficientNet-B0": _pair(_timm("efficientnet_b0"), 384, 12),
    "CLIP-KD-ResNet-18": _pair(_timm("resnet18"), 384, 12),
    "TinyCLIP-ViT-39M-16-Text-19M": _pair(_vit(512, 12, 16), 512, 6),
    "TinyCLIP-ViT-8M-16-Text-3M": _pair(_vit(256, 10, 16), 256, 3),
    "TinyCLIP-ViT-61M-32-Text-29M": _pair(_vit(640, 12, 32), 512, 9),
    "TinyCLIP-ViT-40M-32-Text-19M": _pair(_vit(512, 12, 32), 512, 6),
    "TinyCLIP-ResNet-30M-Text-29M": _pair(_resnet(56), 512, 9, 1024),
    "TinyCLIP-ResNet-19M-Text-19M": _pair(_resnet(44), 512, 6, 1024),
    # Only the image tower is the paper's: its texts are the teacher's, ViT-L/14.
    "DIME-FM-ViT-B-32": _pair(_vit(768, 12, 32), 768, 12, 768),
}

# Name: timm's name for the nearest network, and what the paper has otherwise.
IMAGES: dict[str, tuple[str, Config]] = {
    "DIME-FM-Swin-T": ("swin_tiny_patch4_window7_224", {"drop_path_rate": 0.2}),
    "Proteus-ViT-Ti-14": ("vit_small_patch14_dinov2", {"init_values": 1.0, "embed_dim": 192, "num_heads": 3}),
    "Proteus-ViT-S-14": ("vit_small_patch14_dinov2", {"init_values": 1.0}),
    "Proteus-ViT-B-14": ("vit_base_patch14_dinov2", {"init_values": 1.0}),
    "Proteus-ViT-L-14": ("vit_large_patch14_dinov2", {"init_values": 1.0}),
    "OOD-ResNet-18": ("resnet18", {}),
    "OOD-ResNet-50": ("resnet50", {}),
    "OOD-ViT-B-32": ("vit_base_patch32_224", {}),
}


def openclip_config(model: str | Config) -> Config:
    """A copy of the configuration behind a name, or of the table itself; RecipeError names the nearest."""
    if not isinstance(model, str):
        missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in model]
        if missing:
            raise RecipeError(f"student: model = {{...}} lacks {', '.join(missing)}; see open_clip's model_configs")
        return deepcopy(model)
    base = model.removesuffix(_QUICK)
    config: Config | None = PAIRS.get(base) or open_clip.get_model_config(model) if "/" not in model else None
    if config is None:
        raise RecipeError(f"student: no open_clip model {model!r}{_nearest(model, [*PAIRS, *open_clip.list_models()])}")
    return deepcopy(config) | ({"quick_gelu": True} if base in PAIRS and base != model else {})


def timm_model(model: str) -> tuple[str, Config]:
    """timm's name and constructor arguments behind a name; RecipeError names the nearest."""
    if model in IMAGES:
        return IMAGES[model]
    if not timm.is_model(model):
        raise RecipeError(f"student: timm has no model {model!r}{_nearest(model, [*IMAGES, *timm.list_models()])}")
    return model, {}


def _nearest(name: str, known: list[str]) -> str:
    near = {known_name.lower(): known_name for known_name in known}
    found = difflib.get_close_matches(name.lower(), near, n=3, cutoff=0.0)
    return f", did you mean {' or '.join(near[one] for one in found)}?"
