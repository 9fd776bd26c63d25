"""Transformers of open_clip whose layers may differ: computed with masks, or cut down to what the masks leave.

    x = h * (embeddings + positions)
    x = x + h * out(a * heads(norm(x)));  x = x + h * down(n * gelu(up(norm(x))))

h, a, n: masks of channels, heads and neurons; norm is over the channels that are not 0, and not scaled by h. Fusing
multiplies the masks into the weights and drops what is 0: embeddings and rows of `out` and `down` take h, their columns
a and n. The fused tower says what the masked one said. TinyCLIP, https://arxiv.org/abs/2309.12314, after CoFi.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, VisionTransformer, text_global_pool
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.students._masks import Drawn


def refuse_other_towers(tower: Any) -> None:
    """Only plain transformers can be pruned: class token or end of text pooled, no features that masks do not know."""
    plain_image = isinstance(tower, VisionTransformer) and tower.attn_pool is None and tower.pool_type != "none"
    plain_text = isinstance(tower, TextTransformer) and tower.cls_emb is None and not tower.use_pad_mask
    blocks = tower.transformer.resblocks if plain_image or plain_text else []
    if not blocks or any(type(block) is not ResidualAttentionBlock for block in blocks):
        raise RecipeError(
            f"student: masks are for plain transformers of open_clip, not for {type(tower).__name__} like this"
        )


def sizes(tower: Any) -> tuple[int, list[int], list[int]]:
    """Its width, and the heads and neurons of each layer, as its weights have them."""
    blocks = tower.transformer.resblocks
    heads = [block.attn.out_proj.weight.shape[1] // block.attn.head_dim for block in blocks]
    neurons = [block.mlp.c_fc.weight.shape[0] for block in blocks]
    return tower.positional_embedding.shape[-1], heads, neurons


def encode_image(tower: Any, x: Float[Tensor, "b 3 h w"], masks: Drawn | None = None) -> Float[Tensor, "b d"]:
    """The image embedding; without masks the tower's layers are whatever size their weights are."""
    x = tower.conv1(x).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1) + tower.positional_embedding
    x = _norm(tower.ln_pre, _masked(x, masks), masks)
    x = _blocks(tower, x, masks)
    pool = (lambda y: y[:, 0]) if tower.pool_type == "tok" else (lambda y: y[:, 1:].mean(1))
    pooled = _norm(tower.ln_post, pool(x), masks) if tower.final_ln_after_pool else pool(_norm(tower.ln_post, x, masks))
    return pooled if tower.proj is None else pooled @ tower.proj


def encode_text(tower: Any, tokens: Int[Tensor, "t l"], masks: Drawn | None = None) -> Float[Tensor, "t d"]:
    """The text embedding; tokens may be shorter than the context where the tower is causal."""
    length = tokens.shape[1]
    x = _masked(tower.token_embedding(tokens) + tower.positional_embedding[:length], masks)
    x = _blocks(tower, x, masks, None if tower.attn_mask is None else tower.attn_mask[:length, :length])
    x = _norm(tower.ln_final, text_global_pool(x, tokens, tower.pool_type, tower.eos_id), masks)
    if tower.text_projection is None:
        return x
    return tower.text_projection(x) if isinstance(tower.text_projection, nn.Linear) else x @ tower.text_projection


def _blocks(tower: Any, x: Tensor, masks: Drawn | None, attention_mask: Tensor | None = None) -> Tensor:
    for number, block in enumerate(tower.transformer.resblocks):
        heads, neurons = (masks.heads[number], masks.neurons[number]) if masks else (None, None)
        seen = _attend(block.attn, _norm(block.ln_1, x, masks), heads, attention_mask)
        x = x + _masked(block.ls_1(seen), masks)
        thought = block.mlp.gelu(block.mlp.c_fc(_norm(block.ln_2, x, masks)))
        x = x + _masked(block.ls_2(block.mlp.c_proj(thought if neurons is None else thought * neurons)), masks)
    return x


def _attend(attention: Any, x: Tensor, heads: Tensor | None, attention_mask: Tensor | None) -> Tensor:
    """Self-attention with as many heads as there are weights for; with none, its output's bias is left."""
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    if qkv.shape[-1] == 0:
        return attention.out_proj.bias.expand(x.shape[:-1] + attention.out_proj.bias.shape)
    q, k, v = qkv.unflatten(-1, (3, -1, attention.head_dim)).permute(2, 0, 3, 1, 4)
    mask = None if attention_mask is None else attention_mask.to(q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = out if heads is None else out * heads[:, None, None]
    return attention.out_proj(out.transpose(1, 2).flatten(2))


def _masked(x: Tensor, masks: Drawn | None) -> Tensor:
    return x if masks is None else x * masks.hidden


def _norm(norm: Any, x: Tensor, masks: Drawn | None) -> Tensor:
    """Layer norm over the channels that are there; an identity stays one."""
    if isinstance(norm, nn.Identity):
        return x
    if masks is None:
        return F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)
    alive = (masks.hidden > 0).float()
    x = x.float()
    mean = (x * alive).sum(-1, keepdim=True) / alive.sum()
    apart = (x - mean) * alive
    variance = apart.square().sum(-1, keepdim=True) / alive.sum()
    return (apart * (variance + norm.eps).rsqrt() * norm.weight + norm.bias) * alive


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
    for block, heads, neurons in zip(tower.transformer.resblocks, masks.heads, masks.neurons, strict=True):
        _fuse_block(block, h, heads, neurons)
    norms = [tower.ln_pre, tower.ln_post] if image else [tower.ln_final]
    _slice_norms([*norms, *(norm for block in tower.transformer.resblocks for norm in (block.ln_1, block.ln_2))], alive)
    projection = tower.proj if image else tower.text_projection
    if isinstance(projection, nn.Linear):
        projection.weight.data = projection.weight[:, alive]
    elif projection is not None:
        projection.data = projection[alive]


def _fuse_block(block: Any, h: Tensor, heads: Tensor, neurons: Tensor) -> None:
    alive, attention, mlp = h > 0, block.attn, block.mlp
    channels = heads.repeat_interleave(attention.head_dim)
    stay = (channels > 0).repeat(3)
    attention.in_proj_weight.data = attention.in_proj_weight[stay][:, alive]
    attention.in_proj_bias.data = attention.in_proj_bias[stay]
    _fuse_output(attention.out_proj, h, channels)
    mlp.c_fc.weight.data = mlp.c_fc.weight[neurons > 0][:, alive]
    mlp.c_fc.bias.data = mlp.c_fc.bias[neurons > 0]
    _fuse_output(mlp.c_proj, h, neurons)
    for scale in (block.ls_1, block.ls_2):
        if not isinstance(scale, nn.Identity):
            scale.gamma.data = scale.gamma[alive]


def _fuse_output(linear: nn.Linear, rows: Float[Tensor, "d"], columns: Float[Tensor, "n"]) -> None:
    linear.weight.data = (linear.weight * rows[:, None] * columns)[rows > 0][:, columns > 0]
    linear.bias.data = (linear.bias * rows)[rows > 0]


def _slice_norms(norms: list[Any], alive: Bool[Tensor, "d"]) -> None:
    for norm in norms:
        if not isinstance(norm, nn.Identity):
            norm.weight.data, norm.bias.data = norm.weight[alive], norm.bias[alive]
