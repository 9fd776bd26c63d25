"""Vision transformers of timm as _slim.py has open_clip's: computed with masks, or cut down to what the masks leave."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer, global_pool_nlc
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.students._masks import Drawn
from distillkit.students._slim_blocks import fuse_blocks, masked, norm, plain, run_blocks, sizes_of, slice_norms


def refuse_other_trunks(trunk: Any, name: str) -> None:
    """Only plain ones can be pruned: learned positions, patches from one convolution, pooled without attention."""
    if (
        type(trunk) is not VisionTransformer
        or type(trunk.patch_embed) is not PatchEmbed
        or not isinstance(trunk.patch_embed.norm, nn.Identity)
        or trunk.pos_embed is None
        or trunk.attn_pool is not None
        or not all(plain(block) for block in trunk.blocks)
    ):
        raise RecipeError(f"student: masks are for plain vision transformers of timm, not for one like {name}")


def sizes(trunk: Any) -> tuple[int, list[int], list[int]]:
    """Its width, and the heads and neurons of each layer, as its weights have them."""
    return trunk.pos_embed.shape[-1], *sizes_of(trunk.blocks)


def encode(trunk: Any, x: Float[Tensor, "b 3 h w"], masks: Drawn | None = None) -> Float[Tensor, "b e"]:
    """What the trunk pools; without masks its layers are whatever size their weights are."""
    x = trunk.patch_embed.proj(x).flatten(2).transpose(1, 2)
    before = [token.expand(x.shape[0], -1, -1) for token in (trunk.cls_token, trunk.reg_token) if token is not None]
    x = torch.cat([*before, x + trunk.pos_embed], 1) if trunk.no_embed_class else torch.cat([*before, x], 1)
    x = x if trunk.no_embed_class else x + trunk.pos_embed
    x = norm(trunk.norm_pre, masked(trunk.patch_drop(trunk.pos_drop(x)), masks), masks)
    x = norm(trunk.norm, run_blocks(trunk.blocks, x, masks), masks)
    pooled = global_pool_nlc(
        x,
        pool_type=trunk.global_pool,
        num_prefix_tokens=trunk.num_prefix_tokens,
        reduce_include_prefix=trunk.pool_include_prefix,
    )
    return trunk.head_drop(norm(trunk.fc_norm, pooled, masks))


@torch.no_grad()
def fuse(trunk: Any, masks: Drawn) -> None:
    """Cut the trunk down to what its masks leave. Its parameters stay the same objects, with fewer entries."""
    h, alive = masks.hidden, masks.hidden > 0
    for embedding in (trunk.cls_token, trunk.reg_token, trunk.pos_embed):
        if embedding is not None:
            embedding.data = (embedding * h)[..., alive]
    convolution = trunk.patch_embed.proj
    convolution.weight.data = (convolution.weight * h[:, None, None, None])[alive]
    if convolution.bias is not None:
        convolution.bias.data = (convolution.bias * h)[alive]
    fuse_blocks(trunk.blocks, masks)
    slice_norms([trunk.norm_pre, trunk.norm, trunk.fc_norm], alive)
