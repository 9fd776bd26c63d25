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
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from distillkit.errors import RecipeError

# Query, key and value in one tensor: the first axis is 3 * heads * head width.
FUSED = ("in_proj_weight", "in_proj_bias", "qkv.weight", "qkv.bias")


_POSITIONS = ("positional_embedding", "pos_embed")


def inherit_from(teacher: nn.Module, student: nn.Module, name: str, *, all_positions: bool = True) -> None:
    """Make `student` a part of `teacher`, a tower of one family; RecipeError, which tells `name`, where it is none.

    `all_positions`: an image's positions are a grid, of which no first part would do; a text may have fewer.
    """
    theirs, ours = teacher.state_dict(), {key: tuple(value.shape) for key, value in student.state_dict().items()}
    widths = _head_widths(teacher) | _head_widths(student)
    if len(widths) > 1:
        found = " and ".join(map(str, sorted(widths)))
        raise RecipeError(f"inherit from {name}: heads are {found} wide in student and teacher; make them equal")
    for key, shape in ours.items():
        if all_positions and key.endswith(_POSITIONS) and key in theirs and shape[:-1] != theirs[key].shape[:-1]:
            raise RecipeError(
                f"inherit from {name}: the student has {shape[-2]} positions (patches and extra tokens), the teacher "
                f"{theirs[key].shape[-2]}; choose image_size and patch size so that both grids agree"
            )
    student.load_state_dict(inherit(theirs, ours, head_width=max(widths, default=64)))


def _head_widths(tower: nn.Module) -> set[int]:
    """How wide the heads of its attention layers are."""
    widths = set()
    for module in tower.modules():
        if isinstance(width := getattr(module, "head_dim", None), int):
            widths.add(width)
        elif isinstance(module, AttentionPool2d):
            widths.add(module.k_proj.in_features // module.num_heads)
    return widths


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
    if tensor.ndim == 4 and shape[2:] != tensor.shape[2:]:
        raise RecipeError(f"inherit: {name} has a kernel of {list(shape[2:])}, the teacher's {list(tensor.shape[2:])}")
    if not name.endswith(FUSED):
        return tensor[tuple(slice(size) for size in shape)].clone()
    if shape[0] % (3 * head_width) or tensor.shape[0] % (3 * head_width):
        raise RecipeError(f"inherit: {name} is {shape[0]} from {tensor.shape[0]} wide, no whole heads of {head_width}")
    split = tensor.unflatten(0, (3, -1))[(slice(None), slice(shape[0] // 3), *(slice(size) for size in shape[1:]))]
    return split.reshape(math.prod(split.shape[:2]), *shape[1:]).clone()
