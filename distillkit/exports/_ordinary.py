"""A pruned transformer as an ordinary one: every layer of one size, as libraries build them. Its function stays.

An ordinary network has n heads of width / n in every layer. A layer with fewer heads gets heads that nobody listens to;
a narrower head gets channels of 0, and its queries are scaled, since softmax divides by the root of a head's width;
neurons are filled up with silent ones. The width itself cannot be filled up: norms would see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from distillkit.students._slim_blocks import Parts, parts, sizes_of


class Sizes(NamedTuple):
    """Of every layer alike."""

    width: int
    heads: int
    neurons: int

    @property
    def mlp_ratio(self) -> float:
        """Such that int(width * mlp_ratio), which libraries take, is the number of neurons."""
        ratio = self.neurons / self.width
        return ratio if int(self.width * ratio) == self.neurons else math.nextafter(ratio, math.inf)


def ordinary_sizes(blocks: Sequence[Any], width: int) -> Sizes | None:
    """The smallest that can hold these layers; None where more or wider heads stayed than this width has room for."""
    heads, neurons = sizes_of(blocks)
    room = width // parts(blocks[0]).head_dim
    count = next((n for n in range(max(*heads, 1), room + 1) if width % n == 0), None)
    return None if count is None else Sizes(width, count, max(*neurons, 1))


@torch.no_grad()
def fill_up(blocks: Sequence[Any], sizes: Sizes) -> None:
    """Give the weights of these blocks the sizes of an ordinary network's."""
    for block in map(parts, blocks):
        _fill_heads(block, sizes.heads, sizes.width // sizes.heads)
        _fill_neurons(block, sizes.neurons)


def _fill_heads(block: Parts, count: int, head_dim: int) -> None:
    """Rows [3 heads old] of the input's weight become [3 count head_dim], and so do the columns of the output's."""
    old = block.head_dim
    heads = block.out.weight.shape[1] // old

    def filled(rows: Tensor) -> Tensor:
        whole = rows.new_zeros(3, count, head_dim, *rows.shape[1:])
        whole[:, :heads, :old] = rows.view(3, heads, old, *rows.shape[1:])
        whole[0] *= math.sqrt(head_dim / old)
        return whole.flatten(0, 2)

    block.weight.data = filled(block.weight)
    if block.bias is not None:
        block.bias.data = filled(block.bias)
    out = block.out.weight.new_zeros(len(block.out.weight), count, head_dim)
    out[:, :heads, :old] = block.out.weight.view(len(out), heads, old)
    block.out.weight.data = out.flatten(1)


def _fill_neurons(block: Parts, most: int) -> None:
    missing = most - len(block.up.weight)
    block.up.weight.data = F.pad(block.up.weight, (0, 0, 0, missing))
    if block.up.bias is not None:
        block.up.bias.data = F.pad(block.up.bias, (0, missing))
    block.down.weight.data = F.pad(block.down.weight, (0, missing))
