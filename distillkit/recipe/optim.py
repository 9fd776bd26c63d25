"""The `[optim]` of a training recipe: optimiser, learning rate, and how a step is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from distillkit.recipe.schema import MOST, Part, Strict


class Optim(Strict):
    """Optimiser and learning rate: a linear warm-up, then `schedule`. Defaults: DIME-FM's training code."""

    kind: Literal["adamw", "sgd"] = Field("adamw", description="the optimiser")
    schedule: Literal["cosine", "multistep", "onecycle", "constant"] = Field(
        "cosine",
        description='the learning rate after the warm-up. "cosine" falls to min_lr; "multistep" is multiplied by gamma '
        'at each milestone; "onecycle" has no warm-up, rises from lr / 25 to lr in the first 30 % and falls to '
        "lr / 250,000 (https://arxiv.org/abs/1708.07120)",
    )
    every: Literal["step", "epoch"] = Field("step", description="whether the rate changes each step, or once an epoch")
    milestones: list[Annotated[float, Field(ge=0)]] = Field(
        default_factory=list, description="of multistep: epochs at which the rate falls"
    )
    gamma: float = Field(0.1, gt=0, description="of multistep: the factor at each milestone")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="a block's learning rate is this times that of the next block; 1: all are equal"
    )
    epochs: float = Field(gt=0, le=MOST, description="how many epochs to train; may be a fraction")
    lr: float = Field(8e-4, gt=0, description="the highest learning rate")
    min_lr: float = Field(4e-5, ge=0, description="the last learning rate of a cosine")
    warmup_lr: float = Field(4e-6, ge=0, description="the learning rate at the first step of the warm-up")
    warmup_epochs: float = Field(4.0, ge=0, le=MOST, description="how long the learning rate rises; 0: no warm-up")
    weight_decay: float = Field(
        0.05, ge=0, description="of weights; biases, norms, embeddings and extra tokens have none"
    )
    betas: tuple[Part, Part] = Field((0.9, 0.999), strict=False, description="of adamw")
    eps: float = Field(1e-8, gt=0, description="of adamw")
    clip_grad_norm: float | None = Field(None, gt=0, description="the largest norm of the gradient; not given: any")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description='the number format the student computes in; "auto" is bf16 on a GPU that has it, else fp32'
    )
    loss_products: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="the number format of matrix products in losses; sums, scores and softmaxes are always float32",
    )
    accumulate: int = Field(
        1, gt=0, le=MOST, description="how many parts of a batch pass through the student one by one, to save memory"
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="the decay of a moving average of the weights, which is kept as the student; none if not given",
    )
    compile: bool | Literal["student", "step"] = Field(
        False, description='torch.compile "student", which true means too, or the whole "step" with losses and clipping'
    )
    recompute: bool = Field(False, description="gradient checkpointing: recompute activations, to save memory")
    shard: bool = Field(False, description="each of several processes keeps a part of the student (FSDP2)")
    fused: bool = Field(True, description="one kernel for the optimiser's update; false changes last bits")
    deterministic: bool = Field(False, description="refuse GPU kernels whose results vary from run to run")

    @field_validator("compile")
    @classmethod
    def _one_name(cls, value: bool | str) -> bool | str:
        """What is one thing has one name in the identity of a run."""
        return True if value == "student" else value
