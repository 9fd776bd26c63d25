"""Few-shot retrieval, training-free: class texts, plus how near an image is to a few labelled ones per class.

    logits_c = scale s w_c^T + alpha sum over shots m of c  exp(-beta (1 - s f_m^T))

Tip-Adapter, https://arxiv.org/abs/2111.03930, as in OOD distillation, https://arxiv.org/abs/2307.03135: f are the
*teacher's* features of the labelled images and their augmented views. The cosine has no temperature there: scale 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def few_shot_logits(
    image: Float[Tensor, "b d"],
    class_text: Float[Tensor, "c d"],
    shots: Float[Tensor, "m d"],
    label: Int[Tensor, "m"],
    *,
    alpha: float = 1.0,
    beta: float = 5.5,
    scale: float = 1.0,
) -> Float[Tensor, "b c"]:
    """Features may be raw. `label` is the class of each shot; augmented views of one image are as many shots."""
    image, class_text, shots = (F.normalize(x, dim=-1) for x in (image, class_text, shots))
    near = (-beta * (1 - image @ shots.T)).exp()
    of_class = torch.zeros(len(image), len(class_text), dtype=near.dtype, device=near.device)
    return scale * image @ class_text.T + alpha * of_class.index_add_(1, label, near)
