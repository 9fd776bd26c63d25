"""Transformer blocks whose layers may differ: computed with masks, or cut down to what the masks leave.

    x = x + h * out(a * heads(norm(x)));  x = x + h * down(n * gelu(up(norm(x))))

h, a, n: masks of channels, heads and neurons; norm is over the channels that are not 0, and not scaled by h. Fusing
multiplies the masks into the weights and drops what is 0: rows of `out` and `down` take h, their columns a and n.
Blocks are open_clip's or timm's. TinyCLIP, https://arxiv.org/abs/2309.12314, after CoFi.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from open_clip.transformer import ResidualAttentionBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from distillkit.students._masks import Drawn


class Parts(NamedTuple):
    """One block, whatever its family calls its layers. Query, key and value lie in one weight.

    `drops`: what leaves out numbers in training, of attention (a share), behind it, within and behind the neurons.
    """

    norm_1: Any
    weight: nn.Parameter
    bias: nn.Parameter | None
    head_dim: int
    out: nn.Linear
    scale_1: Any
    norm_2: Any
    up: nn.Linear
    gelu: nn.Module
    down: nn.Linear
    scale_2: Any
    drops: tuple[float, nn.Module, nn.Module, nn.Module] = (0.0, nn.Identity(), nn.Identity(), nn.Identity())


def parts(block: Any) -> Parts:
    attn, mlp = block.attn, block.mlp
    if isinstance(block, ResidualAttentionBlock):
        attention = block.ln_1, attn.in_proj_weight, attn.in_proj_bias, attn.head_dim, attn.out_proj, block.ls_1
        return Parts(*attention, block.ln_2, mlp.c_fc, mlp.gelu, mlp.c_proj, block.ls_2)
    attention = block.norm1, attn.qkv.weight, attn.qkv.bias, attn.head_dim, attn.proj, block.ls1
    drops = attn.attn_drop.p if block.training else 0.0, attn.proj_drop, mlp.drop1, mlp.drop2
    return Parts(*attention, block.norm2, mlp.fc1, mlp.act, mlp.fc2, block.ls2, drops)


def plain(block: Any) -> bool:
    """Whether there is nothing in it that masks do not know."""
    if type(block) is Block:
        attn, extras = block.attn, (block.drop_path1, block.drop_path2, block.mlp.norm)
        inside = (attn.q_norm, attn.k_norm, attn.norm, getattr(attn, "gate", None) or nn.Identity())
        return all(isinstance(one, nn.Identity) for one in (*extras, *inside))
    return type(block) is ResidualAttentionBlock


def sizes_of(blocks: Sequence[Any]) -> tuple[list[int], list[int]]:
    """The heads and neurons of each layer, as its weights have them."""
    layers = [parts(block) for block in blocks]
    return [one.out.weight.shape[1] // one.head_dim for one in layers], [one.up.weight.shape[0] for one in layers]


def run_blocks(blocks: Sequence[Any], x: Tensor, masks: Drawn | None, attention_mask: Tensor | None = None) -> Tensor:
    for number, block in enumerate(map(parts, blocks)):
        heads, neurons = (masks.heads[number], masks.neurons[number]) if masks else (None, None)
        seen = _attend(block, norm(block.norm_1, x, masks), heads, attention_mask)
        _, after_attention, within, after = block.drops
        x = x + masked(block.scale_1(after_attention(seen)), masks)
        thought = within(block.gelu(block.up(norm(block.norm_2, x, masks))))
        said = after(block.down(thought if neurons is None else thought * neurons))
        x = x + masked(block.scale_2(said), masks)
    return x


def _attend(block: Parts, x: Tensor, heads: Tensor | None, attention_mask: Tensor | None) -> Tensor:
    """Self-attention with as many heads as there are weights for; with none, its output's bias is left."""
    qkv = F.linear(x, block.weight, block.bias)
    if qkv.shape[-1] == 0:
        nothing = x.new_zeros(block.out.out_features) if block.out.bias is None else block.out.bias
        return nothing.expand(x.shape[:-1] + nothing.shape)
    q, k, v = qkv.unflatten(-1, (3, -1, block.head_dim)).permute(2, 0, 3, 1, 4)
    mask = None if attention_mask is None else attention_mask.to(q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=block.drops[0])
    out = out if heads is None else out * heads[:, None, None]
    return block.out(out.transpose(1, 2).flatten(2))


def masked(x: Tensor, masks: Drawn | None) -> Tensor:
    return x if masks is None else x * masks.hidden


def norm(layer: Any, x: Tensor, masks: Drawn | None) -> Tensor:
    """Layer norm over the channels that are there; an identity stays one."""
    if isinstance(layer, nn.Identity):
        return x
    if masks is None:
        return F.layer_norm(x, layer.weight.shape, layer.weight, layer.bias, layer.eps)
    alive = (masks.hidden > 0).float()
    x = x.float()
    count = alive.sum().clamp(min=1)
    mean = (x * alive).sum(-1, keepdim=True) / count
    apart = (x - mean) * alive
    variance = apart.square().sum(-1, keepdim=True) / count
    return (apart * (variance + layer.eps).rsqrt() * layer.weight + layer.bias) * alive


@torch.no_grad()
def fuse_blocks(blocks: Sequence[Any], masks: Drawn) -> None:
    """Cut the blocks down to what their masks leave. Parameters stay the same objects, with fewer entries."""
    alive = masks.hidden > 0
    for block, heads, neurons in zip(map(parts, blocks), masks.heads, masks.neurons, strict=True):
        channels = heads.repeat_interleave(block.head_dim)
        stay = (channels > 0).repeat(3)
        block.weight.data = block.weight[stay][:, alive]
        if block.bias is not None:
            block.bias.data = block.bias[stay]
        _fuse_output(block.out, masks.hidden, channels)
        block.up.weight.data = block.up.weight[neurons > 0][:, alive]
        if block.up.bias is not None:
            block.up.bias.data = block.up.bias[neurons > 0]
        _fuse_output(block.down, masks.hidden, neurons)
        for scale in (block.scale_1, block.scale_2):
            if not isinstance(scale, nn.Identity):
                scale.gamma.data = scale.gamma[alive]
        slice_norms([block.norm_1, block.norm_2], alive)


def _fuse_output(linear: nn.Linear, rows: Float[Tensor, "d"], columns: Float[Tensor, "n"]) -> None:
    linear.weight.data = (linear.weight * rows[:, None] * columns)[rows > 0][:, columns > 0]
    if linear.bias is not None:
        linear.bias.data = (linear.bias * rows)[rows > 0]


def slice_norms(norms: list[Any], alive: Bool[Tensor, "d"]) -> None:
    for one in norms:
        if not isinstance(one, nn.Identity):
            one.weight.data, one.bias.data = one.weight[alive], one.bias[alive]


def take_sizes(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before weights are loaded, give each tensor of `module` their shape: the fused is smaller than the built."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        found = weights.get(prefix + name)
        if found is not None and found.shape != value.shape:
            value.data = value.data.new_empty(found.shape)
