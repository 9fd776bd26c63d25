"""The weights a student inherits: of an open_clip or timm model, or of a student that was trained before.

Needed once, at the start of a run; what is trained, resumed or finished does without.
"""

from __future__ import annotations

import logging
import sys
import textwrap
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import open_clip
from open_clip.transform import PreprocessCfg
from safetensors import SafetensorError
from timm.models import load_checkpoint
from torch import Tensor, nn

from distillkit.errors import RecipeError, TeacherError
from distillkit.recipe import Component
from distillkit.students._configs import openclip_config, timm_model
from distillkit.students._pixels import Normalise
from distillkit.students._timm import create_trunk
from distillkit.system.best import run_of
from distillkit.system.opening import tensors_of
from distillkit.system.paths import expand
from distillkit.system.record import read_record
from distillkit.system.weights import FILE, Damaged, made_again, refuse_damage

# What hubs, torch and safetensors answer when a name, a configuration or a file is not as they want it.
_FAILURES = (RuntimeError, ValueError, OSError, KeyError, TypeError, AssertionError, SafetensorError, UnpicklingError)


class Teacher(NamedTuple):
    """Two towers of open_clip, of one shape and naming with the students'."""

    visual: nn.Module
    text: nn.Module
    log_scale: Tensor
    normalise: Normalise


def openclip_teacher(name: str) -> Teacher:
    """`name`: "NAME/TAG", "NAME/path/to/checkpoint", "local-dir:FOLDER", "hf-hub:OWNER/NAME", or "run:FOLDER"."""
    if name.startswith("run:"):
        earlier: Any = earlier_student(name)
        if not all(hasattr(earlier, part) for part in ("visual", "text", "logit_scale", "normalise")):
            raise RecipeError(
                f"student: inherit = {name!r}: that student does not have both towers; name a run of an openclip_pair"
            )
        if hasattr(earlier, "fuse"):
            earlier.fuse()
        return Teacher(earlier.visual, earlier.text, earlier.logit_scale.detach(), earlier.normalise)
    scheme, _, place = name.rpartition(":") if name.startswith(("local-dir:", "hf-hub:")) else ("", "", name)
    model, _, tag = (f"{scheme}:{expand(place)}", "", None) if scheme else name.partition("/")
    if not scheme:
        _refuse_a_folder(name, f"local-dir:{name}, or run:{name} of a finished run")
        openclip_config(model)  # names the nearest
    quick_gelu = bool(tag and (open_clip.get_pretrained_cfg(model, tag) or {}).get("quick_gelu", False))
    try:
        logging.disable(logging.ERROR)  # open_clip logs what it then raises
        teacher: Any = open_clip.create_model(
            model,
            pretrained=expand(tag) if tag else None,
            force_quick_gelu=quick_gelu,
            force_custom_text=True,
            require_pretrained=True,
        )
    except _FAILURES as error:
        raise TeacherError(f"student: inherit = {name!r}: cannot be loaded: {_reason(error)}") from error
    finally:
        logging.disable(logging.NOTSET)
    shown = PreprocessCfg(**teacher.visual.preprocess_cfg)
    return Teacher(teacher.visual, teacher.text, teacher.logit_scale.detach(), Normalise(shown.mean, shown.std))


class Trunk(NamedTuple):
    """A network of timm without classifier, and what its pixels are normalised by."""

    trunk: nn.Module
    normalise: Normalise


def timm_teacher(name: str, image_size: int) -> Trunk:
    """`name`: timm's name of a network, with or without ".tag", "NAME/path/to/checkpoint", or "run:FOLDER"."""
    if name.startswith("run:"):
        earlier: Any = earlier_student(name)
        if not isinstance(trunk := getattr(earlier, "trunk", None), nn.Module):
            raise RecipeError(
                f"student: inherit = {name!r}: that student is no network of timm; name a run of a timm_image"
            )
        return Trunk(trunk, earlier.normalise)
    _refuse_a_folder(name, f"run:{name} of a finished run, or a model's NAME/FILE")
    model, _, file = name.partition("/")
    known, options = timm_model(model)
    try:
        trunk = create_trunk(known, image_size, options | ({} if file else {"pretrained": True}))
        missing = _load_timm(trunk, expand(file)) if file else []
    except _FAILURES as error:
        raise TeacherError(f"student: inherit = {name!r}: cannot be loaded: {_reason(error)}") from error
    if missing:
        raise TeacherError(f"student: inherit = {name!r}: the file lacks {missing[0]} and {len(missing) - 1} more")
    told = trunk.pretrained_cfg
    return Trunk(trunk, Normalise(told["mean"], told["std"]))


def _refuse_a_folder(name: str, meant: str) -> None:
    """RecipeError for a folder without a scheme: of its path, only what stands before the first / would be told."""
    if Path(expand(name)).is_dir():
        raise RecipeError(f"student: inherit = {name!r}: that is a folder, and no model has that name; write {meant}")


def _load_timm(trunk: nn.Module, file: str) -> list[str]:
    """Load a checkpoint in any format that timm knows for that family, positions resampled; returns what it lacks."""
    family = sys.modules[type(trunk).__module__]
    translate = getattr(family, "checkpoint_filter_fn", None)
    return list(load_checkpoint(trunk, file, strict=False, filter_fn=translate).missing_keys)


def earlier_student(name: str) -> nn.Module:
    """The student that a finished run left behind; `name` is "run:FOLDER"."""
    folder = Path(expand(name.removeprefix("run:")))
    try:
        knobs = read_record(run_of(folder) / "recipe.json", ValueError)["recipe"]["student"]
        refuse_damage(folder)
        weights = tensors_of(folder / FILE)
    except Damaged as error:
        raise TeacherError(
            f"student: inherit = {name!r}: {folder / FILE} is damaged ({error}); {made_again(folder)}"
        ) from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise TeacherError(
            f"student: inherit = {name!r}: no finished run is there ({_reason(error)}); train it first"
        ) from error
    student: nn.Module = Component(**knobs).build("students")
    student.load_state_dict(weights)
    return student.eval()


def continued(student: nn.Module, name: str) -> bool:
    """Whether `name` is a run of a student of this very shape; it is then taken over whole, its projection too."""
    if not name.startswith("run:"):
        return False
    weights = earlier_student(name).state_dict()
    own = student.state_dict()
    if own.keys() != weights.keys() or any(own[key].shape != weights[key].shape for key in own):
        return False
    student.load_state_dict(weights)
    return True


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return textwrap.shorten(lines[-1] if lines else type(error).__name__, 200, placeholder="...")
