"""The moving average of a student's weights follows them, step by step."""

from __future__ import annotations

import torch
from torch import nn

from distillkit.training.shards import own


@torch.no_grad()
def follow(kept: nn.Module, student: nn.Module, decay: float) -> None:
    """`kept` goes the way to `student` by 1 - `decay`; what is no fraction, as counts are, it takes over."""
    both = zip(*(model.state_dict(keep_vars=True).values() for model in (kept, student)), strict=True)
    # What is tied has several names, and moves once.
    pairs = [*{id(one): (own(one.detach()), own(now.detach())) for one, now in both}.values()]
    moving = [(one, now) for one, now in pairs if one.is_floating_point()]
    # All at once: on a GPU a kernel for each tensor takes longer to launch than to compute.
    torch._foreach_lerp_([one for one, _ in moving], [now for _, now in moving], 1 - decay)
    for one, now in pairs:
        if not one.is_floating_point():
            one.copy_(now)
    for part, follows in zip(student.modules(), kept.modules(), strict=True):
        if type(part).get_extra_state is not nn.Module.get_extra_state:  # gives copies: nothing above reached it
            follows.set_extra_state(part.get_extra_state())
