"""Weight inheritance by hand: a small student starts as a part of its teacher.

Depth: of every run of blocks, those at i * floor(teacher / student), i = 0, 1, ... Width: the first entries of every
axis, and of query, key and value the first heads each. No importance, no rescaling. TinyCLIP,
https://arxiv.org/abs/2309.12314 (`weight_inherit` of its released code). For networks of one family that number their
blocks, stage by stage where they have stages: ViT, EVA, ResNet, Swin, TinyViT, PVT, MaxViT, ConvNeXt, MobileNet, ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from jaxtyping import Float
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.students._heads import Heads, heads_of
from distillkit.system.wording import count as counted

_POSITIONS = ("positional_embedding", "pos_embed")
_ACTIVATIONS = (
    "torch.nn.modules.activation",
    "timm.layers.activations",
    "timm.layers.activations_me",
    "open_clip.transformer",
)


def inherit_from(teacher: nn.Module, student: nn.Module, name: str, *, all_positions: bool = True) -> None:
    """Make `student` a part of `teacher`, a tower of one family; RecipeError, which tells `name`, where it is none.

    `all_positions`: an image's positions are a grid, of which no first part would do; a text may have fewer.
    """
    theirs, ours = teacher.state_dict(), {key: tuple(value.shape) for key, value in student.state_dict().items()}
    for key, shape in ours.items():
        if all_positions and key.endswith(_POSITIONS) and key in theirs and shape[:-1] != theirs[key].shape[:-1]:
            raise RecipeError(
                f"inherit from {name}: the student has {shape[-2]} positions (patches and extra tokens), the teacher "
                f"{theirs[key].shape[-2]}; choose image_size and patch size so that both grids agree"
            )
    source, given, heads = _sources(theirs, ours), heads_of(teacher), heads_of(student)
    for key in ours:
        theirs_at, ours_at = _heads_at(source[key], given), _heads_at(key, heads)
        if theirs_at and ours_at and theirs_at != ours_at:
            found = " and ".join(map(str, sorted({theirs_at.width, ours_at.width})))
            raise RecipeError(f"inherit from {name}: heads are {found} wide in student and teacher; make them equal")
    cut = inherit(theirs, ours, heads)
    refuse_other_activation(teacher, student, name)
    student.load_state_dict(cut)


def refuse_other_activation(teacher: nn.Module, student: nn.Module, name: str) -> None:
    """RecipeError where the student has another activation between those weights: it would say other things."""
    theirs, ours = _activations(teacher), _activations(student)
    if ours <= theirs:
        return
    quick = "QuickGELU" in theirs - ours
    cure = 'add "-quickgelu" to the name of student.model, or quick_gelu = true to its table'
    raise RecipeError(
        f"inherit from {name}: its weights are of a network with {_named(theirs)}, the student has {_named(ours)}; "
        f"{cure if quick else 'set student.model to a network with the same'}"
    )


def _named(activations: set[str]) -> str:
    return " and ".join(sorted(activations)) or "none"


def _activations(network: nn.Module) -> set[str]:
    """Those of torch, timm and open_clip, by name."""
    kinds = {type(module) for module in network.modules() if type(module).__module__ in _ACTIVATIONS}
    return {kind.__name__ for kind in kinds if kind.__module__ != "open_clip.transformer" or kind is QuickGELU} - {
        "MultiheadAttention"
    }


def _heads_at(name: str, heads: Mapping[str, Heads]) -> Heads | None:
    return heads.get(name.removesuffix("weight").removesuffix("bias"))


def inherited_layers(teacher: int, student: int) -> list[int]:
    """Which of the teacher's layers the student's layers come from: 12 -> 6 is 0, 2, .., 10; 12 -> 9 is 0..8."""
    if student > teacher:
        raise RecipeError(
            f"inherit: the student has {counted(student, 'layer')}, the teacher only {teacher}; take fewer"
        )
    return [i * (teacher // student) for i in range(student)]


def inherit(
    teacher: Mapping[str, Tensor], student: Mapping[str, tuple[int, ...]], heads: Mapping[str, Heads]
) -> dict[str, Tensor]:
    """The student's tensors, cut out of the teacher's; `student` has their names and shapes. Copies, not views.

    `heads`: of those tensors that hold them, how they lie, by `heads_of`.
    """
    source = _sources(teacher, student)
    return {name: _cut(name, teacher[source[name]], shape, _heads_at(name, heads)) for name, shape in student.items()}


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
                f"inherit: the teacher has no {found[name]!r}, of which the student's {name!r} would be a part; "
                "take a student whose blocks are of the teacher's kind"
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


def _cut(name: str, tensor: Float[Tensor, "..."], shape: tuple[int, ...], heads: Heads | None) -> Float[Tensor, "..."]:
    if len(shape) == 2 and tensor.shape[2:] == (1, 1):
        tensor = tensor.flatten(1)  # a convolution of single pixels is a linear layer
    elif tensor.ndim == 2 and shape[2:] == (1, 1):
        tensor = tensor[:, :, None, None]
    if len(shape) != tensor.ndim:
        raise RecipeError(
            f"inherit: {name} is {list(shape)} in the student, but {list(tensor.shape)} in the teacher, another kind "
            "of layer; take a student of the teacher's family"
        )
    if any(small > large for small, large in zip(shape, tensor.shape, strict=True)):
        raise RecipeError(
            f"inherit: {name} is {list(shape)} in the student, but {list(tensor.shape)} in the teacher; take a "
            "smaller one"
        )
    if tensor.ndim == 4 and shape[2:] != tensor.shape[2:]:
        raise RecipeError(
            f"inherit: {name} has a kernel of {list(shape[2:])}, the teacher's {list(tensor.shape[2:])}; take a "
            "student with the teacher's"
        )
    if heads is None:
        return tensor[tuple(slice(size) for size in shape)].clone()
    parts, width = heads
    if shape[0] % (parts * width) or tensor.shape[0] % (parts * width):
        raise RecipeError(
            f"inherit: {name} is {shape[0]} from {tensor.shape[0]} wide, no whole heads of {width}; take a multiple"
        )
    each = shape[0] // parts
    split = tensor.unflatten(0, (parts, -1))[(slice(None), slice(each), *(slice(size) for size in shape[1:]))]
    return split.reshape(math.prod(split.shape[:2]), *shape[1:]).clone()
