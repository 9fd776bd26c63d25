"""Linear maps in 8 bits by torchao (the extra "fp8"): a quicker teacher, and another one. Measure first what it costs:

    distillkit store precision STORE --against fp8

Weights have a scale for each output, activations one for each token, found as they come; sums are kept in full. All
else is computed as under bf16. https://github.com/pytorch/ao, https://arxiv.org/abs/2209.05433
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.errors import MissingExtra, TeacherError
from distillkit.system.wording import one_line

_LEAST = {"fp8": (8, 9), "int8": (8, 0)}  # compute capabilities whose tensor cores have these numbers
_CARDS = {"fp8": "Ada, Hopper or later", "int8": "Ampere or later"}
_MULTIPLE = 16  # of which a side must be for such products


def refuse_eight_bits(precision: str, device: torch.device) -> None:
    """TeacherError or MissingExtra, before anything is loaded, where 8-bit products cannot be computed."""
    if precision not in _LEAST:
        return
    able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _LEAST[precision]
    if not able and (precision, device.type) != ("int8", "cpu"):
        raise TeacherError(
            f'teacher.precision = "{precision}": {device} cannot compute in it, which takes a GPU of '
            f'{_CARDS[precision]}; set teacher.precision to "auto"'
        )
    _ = _torchao()


def eight_bits(model: nn.Module, precision: str, but: nn.Module | None = None) -> None:
    """Round the linear maps of a frozen network, all but one; they take and give bf16, as autocast's do."""
    torchao = _torchao()
    kind: Any = {
        "fp8": lambda: torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow()),
        "int8": torchao.Int8DynamicActivationInt8WeightConfig,
    }[precision]

    def rounded(module: nn.Module, _: str) -> bool:
        sides = (module.in_features, module.out_features) if type(module) is nn.Linear else (1,)
        return module is not but and not any(side % _MULTIPLE for side in sides)

    found = [module for module in model.modules() if rounded(module, "")]
    if not found:
        raise TeacherError(f'teacher.precision = "{precision}": this network has no linear maps to round; leave it out')
    torchao.quantize_(model, kind(), rounded)
    for module in found:
        module.register_forward_pre_hook(_in_bf16)


def _in_bf16(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return inputs[0].to(torch.bfloat16)


def _torchao() -> Any:
    talk = logging.getLogger("torch.utils._pytree")  # of names that torch will drop one day
    before = talk.level
    talk.setLevel(logging.ERROR)
    try:
        import torchao.quantization
    except ModuleNotFoundError as error:
        if error.name != "torchao":
            raise
        raise MissingExtra("torchao", "fp8") from error
    except (ImportError, OSError, AttributeError) as error:  # made for another version of torch
        told = one_line(error)
        raise TeacherError(
            f"torchao cannot be loaded here ({told:.150}); bring it to the version of torch, "
            f"{torch.__version__}: pip install --upgrade torchao"
        ) from error
    finally:
        talk.setLevel(before)
    return torchao.quantization
