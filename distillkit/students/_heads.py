"""How the heads of attention lie in the weights of a tower: which rows of a fused query, key and value are one head's.

Of open_clip's towers and of timm's families: ViT, EVA and BEiT, Swin and SwinV2, PVT, MaxViT have all queries first,
then all keys, then all values (or, of MaxViT's, head by head, as TinyViT and LeViT have them).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from open_clip.modified_resnet import AttentionPool2d
from torch import nn


class Heads(NamedTuple):
    """`width`: rows of a head in each of so many `parts`; where parts is 1, a head's rows lie together."""

    parts: int
    width: int


def heads_of(tower: nn.Module) -> dict[str, Heads]:
    """By the name of the fused weights, without "weight" or "bias": "blocks.0.attn.qkv."; of what is not fused, q's."""
    found: dict[str, Heads] = {}
    for name, module in tower.named_modules():
        place = f"{name}." if name else ""
        if isinstance(module, nn.MultiheadAttention):
            found[f"{place}in_proj_"] = Heads(3, module.head_dim)
        elif isinstance(module, AttentionPool2d):
            found[f"{place}q_proj."] = Heads(1, module.k_proj.in_features // module.num_heads)
        elif isinstance(count := getattr(module, "num_heads", None), int):
            found |= {f"{place}{part}.": heads for part, heads in _of_timm(module, count)}
    return found


def _of_timm(module: nn.Module, count: int) -> list[tuple[str, Heads]]:
    head_by_head = bool(getattr(module, "head_first", False)) or hasattr(module, "key_dim")
    found = []
    for name, parts in (("qkv", 3), ("kv", 2)):
        layer: Any = getattr(module, name, None)
        rows = getattr(layer, "out_features", None) or getattr(layer, "out_channels", None)
        if isinstance(rows, int):
            parts = 1 if head_by_head else parts
            found.append((name, Heads(parts, rows // parts // count)))
    return found
