"""Gradients averaged over ranks while the backward pass is still going.

Parameters are put into buckets in reverse order, as their gradients become ready; a full bucket is sent at once, as
PyTorch's DistributedDataParallel does (Li et al. 2020, https://arxiv.org/abs/2006.15704). Unlike it, this asks for no
wrapper around the network, and parameters that a loss did not touch are no error.
"""

from __future__ import annotations

from collections.abc import Iterable

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
        self.ranks, self.order = ranks, list(range(len(self.buckets)))
        self.learned = False
        self.bucket_of = {parameter: number for number, bucket in enumerate(self.buckets) for parameter in bucket}
        for parameter in self.bucket_of:
            parameter.register_post_accumulate_grad_hook(self._ready)
        self._open()

    def _open(self) -> None:
        self.missing = [set(bucket) for bucket in self.buckets]
        self.sent: dict[int, tuple[Tensor, dist.Work]] = {}
        self.filled: list[int] = []  # buckets, as their last gradient came

    def start(self, there: Iterable[Tensor] = ()) -> None:
        """The next backward is the last of this step: as soon as it has filled a bucket, the bucket is sent.

        `there`: parameters whose gradients are what they will be, as those of heads where a student looks in parts.
        """
        if not self.buckets:
            return
        self._open()
        self.sending = True
        for parameter in there:
            if parameter in self.bucket_of:
                self._ready(parameter)

    def _ready(self, parameter: Tensor) -> None:
        number = self.bucket_of[parameter]
        if parameter not in self.missing[number]:
            return
        self.missing[number].discard(parameter)
        if not self.missing[number]:
            self.filled.append(number)
        # In one order, so that all ranks send the same thing at the same time.
        while self.sending and len(self.sent) < len(self.order) and not self.missing[self.order[len(self.sent)]]:
            self._send(self.order[len(self.sent)])

    def _send(self, number: int) -> None:
        flat = torch.cat([_gradient(parameter).flatten() for parameter in self.buckets[number]])
        self.sent[number] = flat, dist.all_reduce(flat, async_op=True)

    def finish(self) -> None:
        """Send what is left and put the means in place; a gradient that no rank had stays zero."""
        if not self.buckets:
            return
        for number in self.order[len(self.sent) :]:
            self._send(number)
        self._learn()
        for number, bucket in enumerate(self.buckets):
            flat, work = self.sent[number]
            work.wait()
            for parameter, mean in zip(bucket, (flat / self.world).split([p.numel() for p in bucket]), strict=True):
                _gradient(parameter).copy_(mean.view_as(parameter))
        self.sending = False

    def _learn(self) -> None:
        """From the first step, in which order buckets fill: one with a parameter that no loss touches never does, and
        all that come behind it would wait. What is in a bucket stays, and with it every sum.
        """
        if not self.learned:
            self.learned = True
            self.order = self.ranks.told([*self.filled, *(n for n in self.order if n not in self.filled)])


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
