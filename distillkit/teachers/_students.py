"""The student of a finished run, or of what it was exported as: the same network, if its weights are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from distillkit.errors import TeacherError
from distillkit.recipe import Component
from distillkit.system.atomic import parsed_json
from distillkit.system.best import run_of
from distillkit.system.opening import tensors_of
from distillkit.system.record import read_record
from distillkit.system.weights import FILE, Damaged, made_again, refuse_damage
from distillkit.teachers._frozen import weights_sha256
from distillkit.teachers._names import misfit

EXPORTED = "distillkit.json"  # in an exported folder: which student it was made of
_HEADS = ("classifier", "head.fc", "head", "fc")  # what timm calls the layer that the projection became


def student_of(folder: Path) -> tuple[str, Any]:
    """Kind and network of the student that a run left, or that an export keeps; TeacherError where there is none."""
    try:
        if _is_export(folder):
            return _of_export(folder)
        knobs = _knobs(folder)
        student = Component(**knobs).build("students")
        refuse_damage(folder)
        student.load_state_dict(tensors_of(folder / FILE))
    except Damaged as error:
        raise TeacherError(f"{folder / FILE}: damaged ({error}); {made_again(folder)}") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = misfit(error) or str(error).strip().splitlines()[-1].strip()
        raise TeacherError(f"{folder}: its student cannot be loaded ({reason}); train it anew") from error
    return str(knobs["kind"]), student.eval()


def student_without_weights(folder: Path) -> Any:
    """The same network with whatever numbers it is built with; TeacherError where there is none."""
    try:
        return Component(**_knobs(folder)).build("students")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TeacherError(f"{folder}: its student cannot be built ({error!r:.80}); train it anew") from error


def _is_export(folder: Path) -> bool:
    """Whether an export lies there; else a finished run does, or TeacherError says that none is there."""
    exported, finished = (folder / EXPORTED).is_file(), (run_of(folder) / "student.json").is_file()
    if not exported and not finished:
        raise TeacherError(
            f"{folder}: has no finished run that could be the teacher; finish one with: distillkit train-student"
        )
    return exported


def _knobs(folder: Path) -> dict[str, Any]:
    """The table of its student."""
    if _is_export(folder):
        return dict(parsed_json((folder / EXPORTED).read_bytes())["student"])
    return dict(read_record(run_of(folder) / "recipe.json", ValueError)["recipe"]["student"])


def _of_export(folder: Path) -> tuple[str, Any]:
    """Whether the weights that were found are the student's, their digest says."""
    told = parsed_json((folder / EXPORTED).read_bytes())
    student = Component(**told["student"]).build("students")
    files = sorted(folder.glob("*.safetensors"))
    there = tensors_of(files[0]) if files else {}
    own = student.state_dict()
    student.load_state_dict({name: _found(name, there, own[name]) for name in own})
    if weights_sha256(student) != told["weights_sha256"]:
        raise TeacherError(
            f"{folder}: does not hold its student's own weights (another precision, a pruned network, graphs); name "
            "the run that it was made of, or an export to open_clip or timm in fp32"
        )
    return str(told["student"]["kind"]), student.eval()


def _found(name: str, there: dict[str, Tensor], otherwise: Tensor) -> Tensor:
    """A weight under the name that open_clip or timm gives it; what no library keeps stays as it was built."""
    names = [name, name.removeprefix("trunk.")]
    names += [name.replace("projection", head) for head in _HEADS]
    found = next((there[one] for one in names if one in there), otherwise)
    return found if found.shape == otherwise.shape else torch.zeros_like(otherwise)
