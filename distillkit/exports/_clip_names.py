"""Weights of open_clip's towers by the names that transformers' CLIPModel has for them."""

from __future__ import annotations

from typing import Any

from torch import nn

from distillkit.exports._files import Weights


def vision_weights(tower: Any) -> Weights:
    """open_clip's names to CLIPModel's."""
    weights: Weights = {
        "vision_model.embeddings.class_embedding": tower.class_embedding,
        "vision_model.embeddings.patch_embedding.weight": tower.conv1.weight,
        "vision_model.embeddings.position_embedding.weight": tower.positional_embedding,
        "visual_projection.weight": tower.proj.T,
    }
    weights |= _norm("vision_model.pre_layrnorm", tower.ln_pre) | _norm("vision_model.post_layernorm", tower.ln_post)
    return weights | _blocks("vision_model", tower)


def text_weights(tower: Any) -> Weights:
    projection = tower.text_projection
    weights: Weights = {
        "text_model.embeddings.token_embedding.weight": tower.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": tower.positional_embedding,
        "text_projection.weight": projection.weight if isinstance(projection, nn.Linear) else projection.T,
    }
    return weights | _norm("text_model.final_layer_norm", tower.ln_final) | _blocks("text_model", tower)


def _blocks(part: str, tower: Any) -> Weights:
    weights: Weights = {}
    for number, block in enumerate(tower.transformer.resblocks):
        place = f"{part}.encoder.layers.{number}"
        weights |= _norm(f"{place}.layer_norm1", block.ln_1) | _norm(f"{place}.layer_norm2", block.ln_2)
        for name, weight, bias in zip(
            ("q_proj", "k_proj", "v_proj"),
            block.attn.in_proj_weight.chunk(3),
            block.attn.in_proj_bias.chunk(3),
            strict=True,
        ):
            weights |= {f"{place}.self_attn.{name}.weight": weight, f"{place}.self_attn.{name}.bias": bias}
        for name, linear in (
            ("self_attn.out_proj", block.attn.out_proj),
            ("mlp.fc1", block.mlp.c_fc),
            ("mlp.fc2", block.mlp.c_proj),
        ):
            weights |= {f"{place}.{name}.weight": linear.weight, f"{place}.{name}.bias": linear.bias}
    return weights


def _norm(place: str, norm: Any) -> Weights:
    return {f"{place}.weight": norm.weight, f"{place}.bias": norm.bias}
