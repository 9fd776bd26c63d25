"""One forward of an image tower: its embedding and, where it is a ViT, its tokens after the final norm.

Towers are open_clip's (vision transformer, ResNet, or timm network with a head) and bare timm trunks. A ViT can look
with some of its patches hidden or dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.students._masking import keep_some
from distillkit.system.wording import count


class Look(NamedTuple):
    """`cls`: what is pooled, before the projection; of most ViTs the class token; None where a tower keeps it."""

    image: Float[Tensor, "b d"]
    cls: Float[Tensor, "b e"] | None = None
    patches: Float[Tensor, "b p e"] | None = None


class Places(NamedTuple):
    """Where to intervene in a ViT."""

    embed: nn.Module  # gives patch embeddings, before positions
    drop: nn.Module  # an identity, after positions
    prefix: int  # tokens before the patches
    grid: tuple[int, int]
    width: int


def places(tower: nn.Module, name: object) -> Places:
    """RecipeError for what is no ViT."""
    if isinstance(tower, VisionTransformer) and tower.attn_pool is None:
        return Places(tower.conv1, tower.patch_dropout, 1, tower.grid_size, tower.conv1.out_channels)
    trunk: Any = tower.trunk if isinstance(tower, TimmModel) else tower
    if not all(hasattr(trunk, part) for part in ("patch_embed", "patch_drop", "num_prefix_tokens", "blocks")):
        raise RecipeError(f"student: {name} is no vision transformer, so it has no patches; leave out tokens and drops")
    grid = trunk.patch_embed.grid_size
    return Places(trunk.patch_embed, trunk.patch_drop, trunk.num_prefix_tokens, grid, trunk.embed_dim)


def look(tower: Any, x: Float[Tensor, "b 3 h w"]) -> Look:
    """One forward of an image tower of open_clip."""
    if isinstance(tower, TimmModel):
        return look_timm(tower.trunk, tower.head, x)
    if not isinstance(tower, VisionTransformer):
        return Look(tower(x))
    cls, patches = tower._pool(tower.transformer(tower._embeds(x)))
    return Look(cls if tower.proj is None else cls @ tower.proj, cls, patches)


def look_timm(trunk: Any, head: Callable[[Tensor], Tensor], x: Float[Tensor, "b 3 h w"]) -> Look:
    """One forward of a timm trunk without classifier."""
    tokens = trunk.forward_features(x)
    cls = trunk.forward_head(tokens, pre_logits=True)
    if not hasattr(trunk, "num_prefix_tokens") or not isinstance(tokens, Tensor) or tokens.ndim != 3:
        return Look(head(cls), cls)
    return Look(head(cls), cls, tokens[:, trunk.num_prefix_tokens :])


@contextmanager
def hidden(vit: Places, mask: Bool[Tensor, "b p"], token: Float[Tensor, "e"]) -> Iterator[None]:
    """Where `mask` is true, the patch's embedding is `token`; the sequence keeps its length. Proteus, 2407.10366."""

    def hide(embeddings: Tensor) -> Tensor:
        if mask.shape[1] != vit.grid[0] * vit.grid[1]:
            raise RecipeError(
                f"student: its grid is {vit.grid[0]} x {vit.grid[1]}, the mask has "
                f"{count(mask.shape[1], 'patch', 'patches')}"
            )
        fill = token.to(embeddings.dtype)
        if isinstance(vit.embed, nn.Conv2d):
            return torch.where(mask.unflatten(1, vit.grid)[:, None], fill[:, None, None], embeddings)
        where = mask.unflatten(1, vit.grid) if embeddings.ndim == 4 else mask
        return torch.where(where[..., None], fill, embeddings)

    with _changed(vit.embed, hide):
        yield


@contextmanager
def dropped(vit: Places, share: float) -> Iterator[None]:
    """Only int(p (1 - share)) random patches of each image stay, with their positions. CLIP-KD's MFD, 2307.12732."""

    def drop(tokens: Tensor) -> Tensor:
        prefix, patches = tokens[:, : vit.prefix], tokens[:, vit.prefix :]
        noise = torch.rand(patches.shape[:2], device=tokens.device)
        return torch.cat([prefix, keep_some(patches, noise, share)[0]], dim=1)

    with _changed(vit.drop, drop):
        yield


@contextmanager
def _changed(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """For now, `module` gives what `change` makes of its output."""
    handle = module.register_forward_hook(lambda _module, _inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()
