"""What every frozen network needs: a device, a precision, a digest of its weights, quiet loading, clear refusals."""

from __future__ import annotations

import difflib
import hashlib
import logging
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from distillkit.errors import TeacherError
from distillkit.system.fitting import fitting
from distillkit.system.progress import Progress, hearer
from distillkit.teachers._eight_bits import eight_bits, refuse_eight_bits

Precision = Literal["auto", "fp32", "bf16", "fp16"]
AnyPrecision = Literal[Precision, "fp8", "int8"]

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PRECISIONS |= dict.fromkeys(("fp8", "int8"), torch.bfloat16)  # in which all is computed but linear maps
# What torch answers when a file of weights is damaged, or holds more than tensors.
_DAMAGE = (UnpicklingError, EOFError, IndexError)

_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")  # how files of weights end, for both libraries
OPEN_ANOTHER = "fetch its files again, or name another in the recipe"

# What timm, open_clip, torch and safetensors answer when a hub, a configuration or weights are not as they want them.
FAILURES = (RuntimeError, ValueError, OSError, KeyError, TypeError, AssertionError, SafetensorError, *_DAMAGE)


def precision_of(name: AnyPrecision, device: torch.device) -> str:
    """ "auto" is bf16 on a GPU that has it, else fp32. TeacherError, or MissingExtra, for 8 bits that are not here."""
    refuse_eight_bits(name, device)
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return ("bf16" if bf16 else "fp32") if name == "auto" else name


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which a network computes in `precision`."""
    return torch.autocast(device.type, _PRECISIONS[precision], enabled=precision != "fp32")


def freeze(model: Any, device: torch.device) -> str:
    """Bring a network that is never trained to its device; returns the digest of its weights."""
    model.eval().requires_grad_(False)
    # Convolutions are faster with channels last; transformers do not mind.
    with fitting("the weights of the teacher", "free some of it", 'its device to "cpu"', TeacherError):
        model.to(device, memory_format=torch.channels_last)
    return weights_sha256(model)


def lower(model: nn.Module, precision: str, but: nn.Module | None = None) -> None:
    """Keep the weights that autocast would round at every call rounded: those of linear maps, convolutions, attention.

    What the network says stays the same; on a CPU but for the last bit, where it has torch's own attention. Its norms,
    its embeddings and everything of another class, whose weights may be used in other ways, stay as they are.
    In 8 bits linear maps are rounded further, all `but` one.
    """
    if precision != "fp32":
        for module in model.modules():
            if type(module) in (nn.Linear, nn.Conv2d, nn.MultiheadAttention):
                module.to(_PRECISIONS[precision])
    if precision in ("fp8", "int8"):
        eight_bits(model, precision, but)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function through torch.compile, at the first call; TeacherError where it cannot.

    A batch with fewer rows than the first, such as the last of a shard, is filled up: another shape would be compiled
    anew, which takes longer than many batches. Of what comes out, the first axis is that of rows.
    """
    from torch._dynamo.exc import TorchDynamoException  # slow to import, and few ask for it

    fast, most = torch.compile(function), 0

    def run(pixels: Tensor, **options: Any) -> Any:
        nonlocal most
        rows = len(pixels)
        most = max(most, rows)
        try:
            whole = fast(pixels if rows == most else _filled_up(pixels, most), **options)
            return whole if rows == most else tree_map(lambda value: value[:rows], whole)
        except TorchDynamoException as error:
            told = textwrap.shorten(str(error), 200, placeholder="...")
            raise TeacherError(f"torch.compile does not work here ({told}); leave teacher.compile out") from error

    return run


def _filled_up(pixels: Tensor, rows: int) -> Tensor:
    more = pixels[-1:].expand(rows - len(pixels), *pixels.shape[1:])
    order = torch.channels_last if pixels.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return torch.cat([pixels, more]).contiguous(memory_format=order)


def weights_sha256(model: nn.Module) -> str:
    """sha256 over name, dtype, shape and bytes of every tensor: of the weights, not of the file they came in."""
    hasher, weights = hashlib.sha256(), model.state_dict()
    with Progress(
        "sha256 of the weights: bytes", sum(value.nbytes for value in weights.values()), hearer()
    ) as progress:
        for name in sorted(weights):
            value = weights[name].detach().cpu().contiguous()
            hasher.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            hasher.update(value.flatten().view(torch.uint8).numpy().data)
            progress.advance(value.nbytes)
    return hasher.hexdigest()


def refuse_other_weights(model: str, have: str, wanted: str) -> None:
    """TeacherError unless the weights are the ones that the recipe names; their first 8 digits or more are enough."""
    if len(wanted) < 8 or not have.startswith(wanted.lower()):
        raise TeacherError(
            f"{model}: its weights have sha256 {have}, the recipe expects {wanted!r}; mend teacher.sha256, or fetch "
            "the weights that have that hash"
        )


def activation(model: nn.Module) -> str:
    """The activation functions in it, by their names in torch and timm."""
    homes = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")
    found = {type(module).__name__ for module in model.modules() if type(module).__module__ in homes}
    return "+".join(sorted(name.lower() for name in found - {"MultiheadAttention"})) or "none"


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """The same values as JSON gives them back: tuples are lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def nearest(name: str, known: list[str]) -> str:
    """The end of a refusal: `, did you mean ...?`"""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    return f", did you mean {' or '.join(near)}?" if near else ""


def refuse_no_weights(name: str, folder: Path) -> None:
    """TeacherError for a folder without a file of weights, before anything is loaded from it."""
    if not any(path.suffix in _WEIGHTS for path in folder.iterdir()):
        raise TeacherError(
            f"{name}: no weights in that folder ({', '.join(_WEIGHTS)}); put them there, or name another"
        )


def reason(error: Exception) -> str:
    """The last line of what went wrong."""
    if isinstance(error, _DAMAGE) or isinstance(error.__cause__, _DAMAGE):
        return "its file of weights is damaged, or holds more than tensors, which is not safe to load"
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


_TALKATIVE = (None, "huggingface_hub", "transformers", "timm", "torch.utils._pytree")


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries and hubs talk at length while they load; what matters of it is in our errors and fingerprint."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR + 1)
    # open_clip talks to the root logger by functions that give it a handler where it has none; a caller's own
    # `logging.basicConfig` would then do nothing.
    none = logging.NullHandler()
    loggers[0].addHandler(none)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        loggers[0].removeHandler(none)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
