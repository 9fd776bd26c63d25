"""Weight inheritance by hand: a small student starts as a part of its teacher.

Depth: of every run of blocks, those at i * floor(teacher / student), i = 0, 1, ... Width: the first entries of every
axis, and of query, key and value the first heads each. No importance, no rescaling. TinyCLIP,
https://arxiv.org/abs/2309.12314 (`weight_inherit` of its released code). For open_clip's and timm's names, or of any
network that numbers its blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from distillkit.errors import RecipeError

# Query, key and value in one tensor: the first axis is 3 * heads * head width.
FUSED = ("in_proj_weight", "in_proj_bias", "qkv.weight", "qkv.bias")


def inherited_layers(teacher: int, student: int) -> list[int]:
    """Which of the teacher's layers the student's layers come from: 12 -> 6 is 0, 2, .., 10; 12 -> 9 is 0..8."""
    if student > teacher:
        raise RecipeError(f"inherit: the student has {student} layers, the teacher only {teacher}; take fewer")
    return [i * (teacher // student) for i in range(student)]


def inherit(
    teacher: Mapping[str, Tensor], student: Mapping[str, tuple[int, ...]], *, head_width: int = 64
) -> dict[str, Tensor]:
    """The student's tensors, cut out of the teacher's; `student` has their names and shapes. Copies, not views."""
    source = _sources(teacher, student)
    return {name: _cut(name, teacher[source[name]], shape, head_width) for name, shape in student.items()}


def _sources(teacher: Mapping[str, Tensor], student: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """For every name of the student the teacher's name: block numbers are mapped, run of blocks by run of blocks."""
    theirs, ours = _runs(teacher), _runs(student)
    found = {}
    for name in student:
        path: list[str] = []
        own: list[str] = []
        for part in name.split("."):
            if part.isdigit():
                count = len(theirs.get(".".join(path), ()))
                own_numbers = sorted(ours[".".join(own)])
                layers = inherited_layers(count, len(own_numbers))
                path.append(str(sorted(theirs[".".join(path)])[layers[own_numbers.index(int(part))]]))
            else:
                path.append(part)
            own.append(part)
        found[name] = ".".join(path)
        if found[name] not in teacher:
            raise RecipeError(
                f"inherit: the teacher has no {found[name]!r}, of which the student's {name!r} would be a part"
            )
    return found


def _runs(names: Mapping[str, object]) -> dict[str, set[int]]:
    """The numbers that follow each prefix: {"visual.transformer.resblocks": {0, 1, ...}}."""
    runs: dict[str, set[int]] = {}
    for name in names:
        parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdigit():
                runs.setdefault(".".join(parts[:place]), set()).add(int(part))
    return runs


def _cut(name: str, tensor: Float[Tensor, "..."], shape: tuple[int, ...], head_width: int) -> Float[Tensor, "..."]:
    if len(shape) != tensor.ndim or any(small > large for small, large in zip(shape, tensor.shape, strict=True)):
        raise RecipeError(
            f"inherit: {name} is {list(shape)} in the student, but {list(tensor.shape)} in the teacher; shrink it"
        )
    if not name.endswith(FUSED):
        return tensor[tuple(slice(size) for size in shape)].clone()
    if shape[0] % (3 * head_width) or tensor.shape[0] % (3 * head_width):
        raise RecipeError(f"inherit: {name} is {shape[0]} from {tensor.shape[0]} wide, no whole heads of {head_width}")
    split = tensor.unflatten(0, (3, -1))[(slice(None), slice(shape[0] // 3), *(slice(size) for size in shape[1:]))]
    return split.reshape(math.prod(split.shape[:2]), *shape[1:]).clone()
