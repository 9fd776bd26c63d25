"""Gradients averaged over ranks while the backward pass is still going.

Parameters are put into buckets in reverse order, as their gradients become ready; a full bucket is sent at once, as
PyTorch's DistributedDataParallel does (Li et al. 2020, https://arxiv.org/abs/2006.15704). Unlike it, this asks for no
wrapper around the network, and parameters that a loss did not touch are no error.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from distillkit.training.ranks import Ranks
from distillkit.training.shards import spread

_BUCKET = 25 << 20  # bytes


class Averaged:
    """The mean over ranks of every gradient of `model`, but for those that its shards average.

    `sending` opens the way: before a step's last backward.
    """

    def __init__(self, model: nn.Module, ranks: Ranks):
        self.world = ranks.world
        self.buckets: list[list[Tensor]] = []
        self.sending = False
        if not ranks.several:
            return
        room = 0
        trained: list[Tensor] = [one for one in model.parameters() if one.requires_grad and not spread(one)]
        for parameter in reversed(trained):
            if room <= 0:
                self.buckets.append([])
                room = _BUCKET
            self.buckets[-1].append(parameter)
            room -= parameter.numel() * parameter.element_size()
        self.bucket_of = {parameter: number for number, bucket in enumerate(self.buckets) for parameter in bucket}
        for parameter in self.bucket_of:
            parameter.register_post_accumulate_grad_hook(self._ready)
        self._open()

    def _open(self) -> None:
        self.missing = [set(bucket) for bucket in self.buckets]
        self.sent: dict[int, tuple[Tensor, dist.Work]] = {}

    def start(self) -> None:
        """The next backward is the last of this step: as soon as it has filled a bucket, the bucket is sent."""
        if self.buckets:
            self._open()
            self.sending = True

    def _ready(self, parameter: Tensor) -> None:
        number = self.bucket_of[parameter]
        self.missing[number].discard(parameter)
        # In order, so that all ranks send the same thing at the same time.
        while self.sending and len(self.sent) < len(self.buckets) and not self.missing[len(self.sent)]:
            self._send(len(self.sent))

    def _send(self, number: int) -> None:
        flat = torch.cat([_gradient(parameter).flatten() for parameter in self.buckets[number]])
        self.sent[number] = flat, dist.all_reduce(flat, async_op=True)

    def finish(self) -> None:
        """Send what is left and put the means in place; a gradient that no rank had stays zero."""
        for number in range(len(self.sent) if self.buckets else 0, len(self.buckets)):
            self._send(number)
        for number, bucket in enumerate(self.buckets):
            flat, work = self.sent[number]
            work.wait()
            for parameter, mean in zip(bucket, (flat / self.world).split([p.numel() for p in bucket]), strict=True):
                _gradient(parameter).copy_(mean.view_as(parameter))
        self.sending = False


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
