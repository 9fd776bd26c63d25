"""Random masking: an image's patches in random order, of which only the first are kept (MAE, CLIP-KD's MFD).

He et al. 2021, https://arxiv.org/abs/2111.06377; CLIP-KD, https://arxiv.org/abs/2307.12732.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor


def keep_some(
    tokens: Float[Tensor, "b p e"], noise: Float[Tensor, "b p"], ratio: float
) -> tuple[Float[Tensor, "b k e"], Bool[Tensor, "b p"], Int[Tensor, "b p"]]:
    """The int(p (1 - ratio)) tokens of least noise, in that order; which are gone; each token's place in that order.

    Tokens already carry their positions, so their order does not matter; a class token is put back by the caller.
    """
    order = noise.argsort(dim=1)
    place = order.argsort(dim=1)
    count = int(tokens.shape[1] * (1 - ratio))
    kept = tokens.take_along_dim(order[:, :count, None], dim=1)
    return kept, place >= count, place
