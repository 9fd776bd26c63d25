"""A finished student leaves the house: described, written as its target wants it, asked, and only then put in place.

    distillkit export runs/dime_fm --to onnx

What answers otherwise than the student is not written (parity/gate.py). The folder is there whole or not at all.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from distillkit.callable import Say, make_callable, silent
from distillkit.errors import ExportError
from distillkit.exports._describe import describe, teacher_texts
from distillkit.exports._described import Described, TextTower
from distillkit.exports._pictures import pixels_of, processor_of
from distillkit.parity.bisection import mended
from distillkit.parity.card import write_card
from distillkit.parity.classes import Scored, classes_of, classes_store, of_classes
from distillkit.parity.gate import Parity, compare
from distillkit.parity.questions import calibration, questions_of_run
from distillkit.parity.reference import Reference, teacher_says
from distillkit.parity.samples import questions_of_folder
from distillkit.recipe import Component, TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.system import cpu
from distillkit.system.atomic import write_json
from distillkit.system.new_folder import new_folder, refuse_name_of_a_file, refuse_what_is_there
from distillkit.system.opening import there_by_now
from distillkit.system.paths import expand, here
from distillkit.system.wording import count
from distillkit.teachers._frozen import weights_sha256
from distillkit.teachers._students import EXPORTED

Precision = Literal["fp32", "fp16", "int8"]
TowerChoice = Literal["image", "text", "both"]
_OTHERWISE = "name another folder with --out"
_FILES = (".onnx", ".safetensors", ".pt", ".pt2", ".pth", ".pte", ".html")  # endings of one file
CALIBRATION = 64  # pictures of training that int8 takes its ranges from


@cpu.settled()
def export(
    path: str | Path,
    to: str,
    *,
    precision: Precision = "fp32",
    tower: TowerChoice = "both",
    out: str | Path | None = None,
    samples: str | Path | None = None,
    text_tower: Literal["own", "teacher"] = "own",
    classes: str | Path | None = None,
    keep: str | None = None,
    runtime_dir: str | Path | None = None,
    licence: str | None = None,
    allow_parity_loss: bool = False,
    say: Say = silent,
) -> Path:
    """Write the student of the finished run at `path` for the program `to`; returns the folder.

    ExportError where that program cannot hold it, where it answers otherwise there than here, and where `out` is
    named as one file is.
    """
    run = RunFolder(here(path))
    target = _target(to, keep=keep, runtime_dir=None if runtime_dir is None else expand(str(runtime_dir)))
    recipe = run.recipe()
    folder = _place(run.path, to, precision, out)
    refuse_name_of_a_file(folder, ExportError, _FILES)
    if precision not in target.precisions:
        raise ExportError(f"--to {to}: is written in {' or '.join(target.precisions)}, not in {precision}")
    _refuse_what_is_not_meant(keep, precision, text_tower)
    texts = _teacher_texts(run, recipe) if text_tower == "teacher" else None
    student = _described(run, recipe, texts, licence, tower)
    reference = Reference(run.load_student(), None if texts is None else teacher_says(run.facts()["teacher"]))
    asked = questions_of_run(recipe, run.path) if samples is None else questions_of_folder(here(samples), say)
    answers, shows = (getattr(target, name, False) for name in ("answers_classes", "shows_classes"))
    place = classes_store(recipe, None if classes is None else str(classes)) if answers or shows else None
    if place is not None:
        known = classes_of(recipe, place, reference.tells, run.facts()["teacher"])
        student = replace(student, classes=known)
        if answers:
            reference, asked = Scored(run.load_student(), known), of_classes(asked, place, recipe, len(known.names))
    refusal = target.holds(student)
    if refusal is not None:
        raise ExportError(f"{run.path}: cannot be exported to {to}: {refusal}")
    held = [name for name in student.towers if name in getattr(target, "towers", ("image", "text"))]
    asked.enough(held)
    told = {"image": count(len(asked.pictures), "picture"), "text": count(len(asked.texts), "text")}
    say(f"comparing the answers of student and {to} on {' and '.join(told[tower] for tower in held)}")
    pixels = _calibration(recipe, student) if precision == "int8" and "image" in held else None
    with new_folder(folder, ExportError, _OTHERWISE) as partial:
        target.write(student, partial, precision, pixels)
        with there_by_now(partial):
            parity = compare(asked, reference, target.open(partial), held, precision)
            if parity.refusal and keep is None and precision != "fp32" and hasattr(target, "blocks"):
                parity = mended(target, student, pixels, partial, asked, reference, parity, say)
        for line in parity.lines:
            say(f"{to} {precision}: {line}")
        _decide(parity, folder, allow_parity_loss, say)
        write_card(partial, run, student, to, target, parity)
        made_of = {
            "student": recipe.student.model_dump(mode="json"),
            "weights_sha256": weights_sha256(run.load_student()),
            "parity": asdict(parity),
        }
        write_json(partial / EXPORTED, made_of)
    return folder


def _refuse_what_is_not_meant(keep: str | None, precision: str, text_tower: str) -> None:
    """ExportError for knobs that would be ignored, or break off in the middle."""
    if text_tower not in ("own", "teacher"):
        raise ExportError(f"--text-tower {text_tower}: write own or teacher")
    if keep is None:
        return
    if precision == "fp32":
        raise ExportError(
            f"--keep fp32:{keep}: --precision fp32 keeps all of it in fp32; leave --keep out, or name a lower "
            "--precision"
        )
    try:
        re.compile(keep)
    except re.error as error:
        raise ExportError(f"--keep fp32:{keep}: no regular expression ({error}); mend it") from error


def _target(to: str, **knobs: str | None) -> Any:
    component = Component(kind=to, **{name: value for name, value in knobs.items() if value is not None})
    component.check("exports", "--to")
    return component.build("exports")


def _calibration(recipe: TrainRecipe, student: Described) -> Float[np.ndarray, "n 3 h w"]:
    assert student.image is not None
    return pixels_of(calibration(recipe, CALIBRATION), processor_of(student.image.shown))


def _place(run: Path, to: str, precision: str, out: str | Path | None) -> Path:
    name = to.rpartition(":")[2].lower() + ("" if precision == "fp32" else f"-{precision}")
    folder = here(out) if out is not None else run / "exports" / name
    refuse_what_is_there(folder, ExportError, _OTHERWISE)
    return folder


def _described(
    run: RunFolder, recipe: TrainRecipe, texts: TextTower | None, licence: str | None, tower: TowerChoice
) -> Described:
    scale = run.facts()["teacher"].get("logit_scale")
    student = describe(recipe.name, run.load_student(), recipe.student, texts=texts, licence=licence, scale=scale)
    if tower != "both":
        student = replace(student, image=None) if tower == "text" else replace(student, text=None)
    if student.text is None:  # asked before anybody is sent there, and for no more than that
        student = replace(student, beside=lambda: _teacher_texts(run, recipe))
    if not student.towers:
        told = "".join(f"; {why}" for why in student.missing)
        raise ExportError(f"{run.path}: --tower {tower}: this student has no such tower{told}")
    return student


def _teacher_texts(run: RunFolder, recipe: TrainRecipe) -> TextTower:
    if "text" in recipe.student.build("students").widths:
        raise ExportError(f"{run.path}: --text-tower teacher: this student has a text tower of its own")
    return teacher_texts(run.facts()["teacher"])


def _decide(parity: Parity, folder: Path, allow: bool, say: Say) -> None:
    if parity.refusal is None:
        return
    if not allow:
        raise ExportError(
            f"{folder}: not written, as its answers differ from its student's: {parity.refusal}; try another "
            "--precision, or add --allow-parity-loss, which writes it all the same and says so in its card"
        )
    say(f"{folder}: written with a loss of parity, as allowed: {parity.refusal}")


make_callable(__name__)
