"""One student on its way: network, objective and optimiser, and the one thing they do together, a step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.recipe import Optim
from distillkit.system.device import fetched
from distillkit.system.spans import span
from distillkit.system.stopping import asked
from distillkit.training import shards
from distillkit.training.average import follow
from distillkit.training.compiling import uncompiled, whole_step
from distillkit.training.finite import refuse_step, refuse_weights
from distillkit.training.gradcache import backward_in_parts, no_statistics, recompute, several_for_batch_norm
from distillkit.training.gradients import Averaged
from distillkit.training.keepable import Watch
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.training.reached import features_of, moving, unmoved_by
from distillkit.training.schedule import make_optimizer
from distillkit.types import Batch, Features

_DROPOUT = 3  # a random stream of the seed, beside those of order.py
_EARLY = 10  # the moving average begins as a plain mean of about as many steps as were made


class Learner:
    """A student with its objective on a device. What is random in a step depends on (seed, step, rank) alone.

    `fresh`: a student that takes over weights does it now; `told` is what it says of that.
    """

    def __init__(
        self,
        student: Any,
        objective: Objective,
        optim: Optim,
        *,
        seed: int,
        device: torch.device,
        ranks: Ranks,
        fresh: bool = False,
    ):
        self.student, self.objective, self.optim = student, objective, optim
        self.seed, self.device, self.ranks = seed, device, ranks
        self.precision = _precision(optim.precision, device)
        self.told: str | None = student.begin() if fresh and hasattr(student, "begin") else None
        if optim.recompute:
            recompute(student)
        self.model = nn.ModuleDict({"student": student, "objective": objective})
        if optim.ema is not None:
            # In the model, so that it is checkpointed with it; without gradients, so that nothing trains it.
            self.model["average"] = copy.deepcopy(student).requires_grad_(False)
        self.sharded = optim.shard and ranks.several
        if self.sharded:
            self._shard()
        else:
            self.model.to(memory_format=torch.channels_last)
        self.model.to(device).train()
        self.optimizer = make_optimizer(self.model, optim)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.leaving = False  # whether a rank was asked to stop before its last step was made: all know it of one step
        self.remarks: list[str] = []  # what the first step has to tell of what its terms reach
        self._looking = self._updating = False
        self._begun_with: dict[str, Tensor] | None = None
        self.watch = Watch(self.model)
        self.averaged = Averaged(self.model, ranks)
        self._judged: Callable[[Batch], tuple[Tensor, dict[str, Tensor]]] = self._judge
        self._clipped: Callable[[], None] = self._clip
        if optim.compile == "step" and not self.sharded and optim.accumulate == 1:
            self._judged = self._compiled()
            self._clipped = whole_step(self._clip, objective, device, begins=False)
        elif optim.compile and not self.sharded:
            student.compile()

    def _shard(self) -> None:
        """Keep a part of the student; the first rank has room for all of it, to measure and to give away."""
        if self.precision == torch.float16:
            raise RecipeError('optim.shard: float16 needs one scale for all parts; set optim.precision to "bf16"')
        self.plain = copy.deepcopy(self.student) if self.ranks.first else None
        shards.shard(self.student, self.device, self.ranks, bool(self.optim.compile))
        if "average" in self.model:
            shards.shard(self.kept, self.device, self.ranks)

    @property
    def kept(self) -> Any:
        """The student that the run gives: the moving average of its weights, if the recipe keeps one."""
        return self.model["average"] if "average" in self.model else self.student  # noqa: SIM401

    def trained(self) -> Any:
        """`kept`, whole. Ranks ask together; of a sharded student only the first has it, as a copy."""
        if not self.sharded:
            return self.kept
        shards.gathered(self.kept, self.plain)
        return self.plain

    def step(self, batch: Batch, lr: float) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the optimiser; returns total and terms. NotFinite, with no weight changed, when a loss is not
        finite, or its gradient.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["own_lr"] or lr * group["lr_share"]
        self.objective.at(batch.step)
        self._begun_with = self._statistics() if self._begun_with is None else self._begun_with
        self._looking = True
        total, terms = self._backward(batch)
        if batch.step == 0:
            self.remarks += self.watch.remarks()
        with span("optimiser", len(batch.keys), self.device):
            self.averaged.finish()
            named, wants = self.model.named_parameters(), asked() is not None
            self.leaving = refuse_step(total, terms, named, self.scaler, self.ranks, wants)
            self._updating = True
            self._update(batch.step)
        self._looking = self._updating = False
        return total.detach(), terms

    def refuse_weights(self) -> None:
        """NotFinite where a step has left a weight that is not finite. Ranks of a sharded student ask together."""
        refuse_weights(self.model.named_parameters(), self.ranks if self.sharded else Ranks(), self.device)

    def whole(self) -> bool:
        """Whether the state is that of a step's end: not within an update, nor while a batch is looked at by a student
        that looking moves (by batch norm), which is seen by what its first steps moved.
        """
        if self._updating or not self._looking:
            return not self._updating
        before = self._begun_with or {}
        return all(torch.equal(value, before[name]) for name, value in self._statistics().items())

    def _statistics(self) -> dict[str, Tensor]:
        """What is kept of the state and is no parameter, copied."""
        parameters = {name for name, _ in self.model.named_parameters()}
        state = self.model.state_dict() if not self.sharded else {}
        return fetched({name: value.detach() for name, value in state.items() if name not in parameters})

    def _update(self, step: int) -> None:
        if self.optim.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            self._clipped()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._average(step)

    def _backward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if self.optim.accumulate > 1:
            return self._backward_in_parts(batch, partial(self._reseed, batch.step))
        self._reseed(batch.step, 0)
        total, terms = self._judged(batch)
        self.averaged.start()
        with span("backward", len(batch.keys), self.device):
            self.scaler.scale(moving(total, terms)).backward()
        return total, terms

    def _reseed(self, step: int, part: int) -> None:
        words = np.random.SeedSequence([self.seed, _DROPOUT, step, self.ranks.rank, part])
        torch.manual_seed(int(words.generate_state(1, np.uint64)[0]))

    def _backward_in_parts(self, batch: Batch, reseed: Callable[[int], None]) -> tuple[Tensor, dict[str, Tensor]]:
        return backward_in_parts(
            self.student,
            self.see,
            self._weigh,
            batch,
            self.optim.accumulate,
            scaled=self.scaler.scale,
            reseed=reseed,
            device=self.device,
            before_last=partial(self.averaged.start, there=list(self.objective.parameters())),
        )

    def _judge(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        with span("forward", len(batch.keys), self.device):
            seen = self.see(batch)
        with span("loss", len(batch.keys), self.device):
            return self._weigh(batch, seen)

    def _weigh(self, batch: Batch, seen: Features) -> tuple[Tensor, dict[str, Tensor]]:
        total, terms = self.objective(batch, seen)
        self.remarks = unmoved_by(terms, seen) if batch.step == 0 else []
        return total, terms

    def _compiled(self) -> Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]:
        """As `_judge`, in which nobody can look at its parts."""
        judge = whole_step(lambda one: self.objective(one, self.see(one)), self.objective, self.device, begins=True)

        def judged(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            with span("forward", len(batch.keys), self.device):
                return judge(batch)

        return judged

    def _clip(self) -> None:
        assert self.optim.clip_grad_norm is not None
        clip: Any = nn.utils.clip_grad_norm_ if not self.sharded else partial(shards.clip, ranks=self.ranks)
        clip(self.model.parameters(), self.optim.clip_grad_norm)

    def see(self, batch: Batch) -> Features:
        """What the student says, in the precision of the recipe."""
        lower = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=lower), several_for_batch_norm():
            seen = shards.see(self.student, batch) if self.sharded else self.student(batch)
        return seen if torch.compiler.is_compiling() else features_of(self.student, seen)

    def gradient_norms(self, batch: Batch) -> dict[str, float]:
        """How hard each weighted term pulls at the student's weights. A backward pass for each; changes nothing."""
        self.objective.at(batch.step)
        self._reseed(batch.step, 0)  # else it would tell of what was drawn before: by another student, or by nobody yet
        with uncompiled(self.model), no_statistics(self.model):  # as a way back is gone once for each term
            _, terms = self.objective(batch, self.see(batch))
            return {name: self._pull(self.objective.terms[name].weight * value) for name, value in terms.items()}

    def _pull(self, term: Tensor) -> float:
        self.averaged.start()
        if term.requires_grad:  # it may on another rank, which waits for this one
            # In float16 by its scale, without which small gradients are zero.
            self.scaler.scale(term).backward(retain_graph=True)
        self.averaged.finish()
        pulls = [parameter.grad for parameter in self.student.parameters() if parameter.grad is not None]
        norm = float(shards.norm(pulls, self.ranks)) / self.scaler.get_scale()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _average(self, step: int) -> None:
        if self.optim.ema is not None:
            follow(self.kept, self.student, min(self.optim.ema, (1 + step) / (_EARLY + step)))


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
