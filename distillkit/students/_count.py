"""How big a student is and what one image and one text cost it; nothing is downloaded, and on the meta device no memory
is used either:

    with torch.device("meta"):
        size = count(recipe.student.build("students"))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from distillkit.errors import RecipeError
from distillkit.students._state import refuse_grown, shapes_of
from distillkit.system.wording import one_line


@dataclass(frozen=True, slots=True)
class Count:
    """Parameters of each tower, of the token embedding (a table, apart from its tower) and of what else is learned;
    multiply-accumulates for one image and for one text of full context."""

    image: int
    text: int
    token_embedding: int
    other: int
    image_macs: int
    text_macs: int

    @property
    def parameters(self) -> int:
        return self.image + self.text + self.token_embedding + self.other


def smaller(whole: Count, left: Count) -> str | None:
    """One line on what of a network is left; None where all of it is."""
    if left.parameters - left.other >= whole.parameters - whole.other:
        return None

    def part(of: str, unit: str = "M") -> str:
        now, before = (getattr(size, of) / 1e6 for size in (left, whole))
        return f"{now:,.2f} of {before:,.2f} {unit}"

    texts = f", text {part('text')}, {part('text_macs', 'M multiply-accumulates')} a text" if whole.text else ""
    return (
        f"what is left: image tower {part('image')} parameters, {part('image_macs', 'M multiply-accumulates')} an image"
        + texts
    )


# Whose names mean that they serve training, or the two towers together.
_OTHER = ("logit_scale", "_masks.", "mask_token", "classifier.")
_TOKENS = ("token_embedding", "word_embeddings")


def count(student: Any) -> Count:
    """Parameters and multiply-accumulates of a student of any kind."""
    images, texts = image_macs(student) or 0, text_macs(student) or 0  # first: lazy modules have no sizes before
    sizes = {"image": 0, "text": 0, "token_embedding": 0, "other": 0}
    for name, parameter in student.named_parameters():
        sizes[_part(student, name)] += parameter.numel()
    return Count(**sizes, image_macs=images, text_macs=texts)


def image_macs(student: Any) -> int | None:
    """Multiply-accumulates for one image; None of a student that sees none. RecipeError of one that cannot."""
    if "image" not in student.widths:
        return None
    side, device = student.image_size, next(student.parameters()).device
    with _refused(f"pictures of 3 x {side} x {side}"):
        return _macs(student, lambda: student.embed(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)))


def text_macs(student: Any) -> int | None:
    """The same of one text of full length."""
    if "text" not in student.widths:
        return None
    length, device = student.context_length, next(student.parameters()).device
    with _refused(f"texts of {length} tokens"):
        return _macs(student, lambda: student.embed_text(torch.zeros(1, length, dtype=torch.long, device=device)))


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """RecipeError where its network takes other sizes than the student says that it does."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise RecipeError(
            f"student: cannot look at {what} ({one_line(error)}); mend its image_size, model or options"
        ) from error


def towers(student: Any) -> dict[str, int]:
    """Parameters of the towers that a student has; of its text tower with its token embedding."""
    sizes = {"image": 0, "text": 0, "other": 0}
    for name, parameter in student.named_parameters():
        part = _part(student, name)
        sizes["text" if part == "token_embedding" else part] += parameter.numel()
    return {tower: size for tower, size in sizes.items() if tower != "other" and tower in student.widths}


def tokens_of(student: Any) -> nn.Parameter | None:
    """The embedding of tokens, a row each; None where it has none."""
    found = (table for name, table in student.named_parameters() if _part(student, name) == "token_embedding")
    return next(found, None)


def _part(student: Any, name: str) -> str:
    if any(part in name for part in _OTHER):
        return "other"
    if any(part in name for part in _TOKENS):
        return "token_embedding"
    return "text" if "text" in student.widths and not name.startswith("visual.") else "image"


def _macs(student: nn.Module, run: Any) -> int:
    """Half of what torch counts as floating point operations; in evaluation, and by none of the fused paths that torch
    takes where nothing learns, as it does not count those. Gradients are on: masks take some, and the count fails
    without.
    """
    before, training = shapes_of(student), student.training
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            student.eval()
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        student.train(training)
    refuse_grown(student, before, "student")
    return counter.get_total_flops() // 2
