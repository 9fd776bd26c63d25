"""Towers of open_clip whose layers may differ: computed with masks, or cut down to what the masks leave.

    x = h * (embeddings + positions), then blocks (_slim_blocks.py)

h masks channels. Fusing multiplies the masks into the weights: embeddings take h. The fused tower says what the masked
one said. TinyCLIP, https://arxiv.org/abs/2309.12314, after CoFi.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from open_clip.transformer import TextTransformer, VisionTransformer, text_global_pool
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.students._masks import Drawn
from distillkit.students._slim_blocks import fuse_blocks, masked, norm, plain, run_blocks, sizes_of, slice_norms


def refuse_other_towers(tower: Any) -> None:
    """Only plain transformers can be pruned: class token or end of text pooled, no features that masks do not know."""
    plain_image = isinstance(tower, VisionTransformer) and tower.attn_pool is None and tower.pool_type != "none"
    plain_text = isinstance(tower, TextTransformer) and tower.cls_emb is None and not tower.use_pad_mask
    blocks = tower.transformer.resblocks if plain_image or plain_text else []
    if not blocks or not all(plain(block) for block in blocks):
        raise RecipeError(
            f"student: masks are for plain transformers of open_clip, not for {type(tower).__name__} like this"
        )


def sizes(tower: Any) -> tuple[int, list[int], list[int]]:
    """Its width, and the heads and neurons of each layer, as its weights have them."""
    return tower.positional_embedding.shape[-1], *sizes_of(tower.transformer.resblocks)


def encode_image(tower: Any, x: Float[Tensor, "b 3 h w"], masks: Drawn | None = None) -> Float[Tensor, "b d"]:
    """The image embedding; without masks the tower's layers are whatever size their weights are."""
    x = tower.conv1(x).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1) + tower.positional_embedding
    x = norm(tower.ln_pre, masked(tower.patch_dropout(x), masks), masks)
    x = run_blocks(tower.transformer.resblocks, x, masks)
    pool = (lambda y: y[:, 0]) if tower.pool_type == "tok" else (lambda y: y[:, 1:].mean(1))
    pooled = norm(tower.ln_post, pool(x), masks) if tower.final_ln_after_pool else pool(norm(tower.ln_post, x, masks))
    return pooled if tower.proj is None else pooled @ tower.proj


def encode_text(tower: Any, tokens: Int[Tensor, "t l"], masks: Drawn | None = None) -> Float[Tensor, "t d"]:
    """The text embedding; tokens may be shorter than the context where the tower is causal."""
    length = tokens.shape[1]
    x = masked(tower.token_embedding(tokens) + tower.positional_embedding[:length], masks)
    causal = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
    x = run_blocks(tower.transformer.resblocks, x, masks, causal)
    x = norm(tower.ln_final, text_global_pool(x, tokens, tower.pool_type, tower.eos_id), masks)
    if tower.text_projection is None:
        return x
    return tower.text_projection(x) if isinstance(tower.text_projection, nn.Linear) else x @ tower.text_projection


@torch.no_grad()
def fuse(tower: Any, masks: Drawn) -> None:
    """Cut the tower down to what its masks leave. Its parameters stay the same objects, with fewer entries."""
    h, alive = masks.hidden, masks.hidden > 0
    image = isinstance(tower, VisionTransformer)
    for embedding in (tower.class_embedding, tower.positional_embedding) if image else (tower.positional_embedding,):
        embedding.data = (embedding * h)[..., alive]
    if image:
        tower.conv1.weight.data = (tower.conv1.weight * h[:, None, None, None])[alive]
    else:
        tower.token_embedding.weight.data = (tower.token_embedding.weight * h)[:, alive]
    fuse_blocks(tower.transformer.resblocks, masks)
    slice_norms([tower.ln_pre, tower.ln_post] if image else [tower.ln_final], alive)
    projection = tower.proj if image else tower.text_projection
    if isinstance(projection, nn.Linear):
        projection.weight.data = projection.weight[:, alive]
    elif projection is not None:
        projection.data = projection[alive]
