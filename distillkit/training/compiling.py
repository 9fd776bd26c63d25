"""torch.compile over what a step does: the student alone, or all of a step from pixels to clipped gradients.

Of a whole step PyTorch makes three programs: forward and losses, their way back, and the clipping. On a GPU each is
replayed as a CUDA graph where shapes stand still, so that a small student does not wait for a processor that launches
its kernels one by one (https://docs.pytorch.org/docs/stable/torch.compiler_cudagraph_trees.html).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

import torch
from torch import nn

from distillkit.errors import RecipeError, TrainError
from distillkit.training.objective import Objective


def whole_step(
    function: Callable[..., Any], objective: Objective, device: torch.device, *, begins: bool
) -> Callable[..., Any]:
    """A function of a step, compiled at its first call. RecipeError where knobs of losses move, as programs do not.

    `begins`: whether a step begins with it. CUDA graphs then take back what earlier ones gave, so only the first
    program of a step may: gradients and terms are read by those that come after it.
    """
    moving = [f"losses.{name}.{knob}" for name, ramps in objective.ramps.items() for knob in ramps]
    if moving:
        raise RecipeError(
            f'optim.compile = "step": {", ".join(moving)} moves from step to step, and each value would be another '
            'program; leave its ramp out, or set optim.compile = "student"'
        )
    from torch._dynamo.exc import TorchDynamoException  # slow to import, and few ask for it

    graphs: Any = {"options": {"triton.cudagraphs": True}} if device.type == "cuda" else {}
    fast = torch.compile(function, **graphs)

    def run(*arguments: Any) -> Any:
        if begins and device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        try:
            return fast(*arguments)
        except TorchDynamoException as error:
            told = shorten(str(error), 200, placeholder="...")
            raise TrainError(f"torch.compile does not work here ({told}); leave optim.compile out") from error

    return run


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Meanwhile its modules run as they are written. A compiled one goes back once only: its way back gives the memory
    that it was handed to what it makes there.
    """
    compiled = [(one, one._compiled_call_impl) for one in model.modules() if one._compiled_call_impl is not None]
    for one, _ in compiled:
        one._compiled_call_impl = None
    try:
        yield
    finally:
        for one, fast in compiled:
            one._compiled_call_impl = fast
