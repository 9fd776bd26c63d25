"""A run's folder: what it was begun with, what it logged, and whether it is finished.

recipe.json           the resolved recipe, and everything else the student depends on
metrics.jsonl         one line per logged step
checkpoints/          see training/checkpoint.py
trackers.json         the ids that trackers gave the run, see training/trackers.py
student.safetensors   the trained student; written last but one
student.json          what it is, what it cost, and the checksum of the student: the run is finished when this exists
best/                 the weights that did best in a validation, see training/validation.py; opens as a run does

Records have a checksum of what they tell (system/record.py), but for those of older versions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOTDIR
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from torch import nn

from distillkit.errors import DistillkitError, RecipeError, TrainError
from distillkit.identity import NAMES, identity
from distillkit.recipe import TrainRecipe, differences
from distillkit.recipe.derived import mended
from distillkit.recipe.own_code import own_code
from distillkit.recipe.schema import validate
from distillkit.recipe.weights import Inherit
from distillkit.system.addresses import refuse_secrets_within
from distillkit.system.atomic import make_folder, may_write, set_aside
from distillkit.system.best import BY, FOLDER, RECORD, is_best, run_of
from distillkit.system.lines import append_line, keep_lines, log_damaged, read_lines, settle
from distillkit.system.locks import locked
from distillkit.system.opening import tensors_of
from distillkit.system.paths import followed, meant, or_else
from distillkit.system.record import digest, read_record, write_record
from distillkit.system.retyped import from_here, retyped
from distillkit.system.turns import lock_of
from distillkit.system.versions import by_another, versions
from distillkit.system.weights import FILE, TOLD, Damaged, bytes_of, refuse_damage, write_weights

LARGEST = 3e38  # of a number that is logged and kept: beyond float32 nothing is said, and squares overflow
_SHOWN = 6  # runs in a folder that is none


class RunFolder:
    """The folder of one run, locked while it is in use; or RUN/best, whose `run` is the one that its weights are of."""

    def __init__(self, path: Path):
        self.path, self.run = path, run_of(path)
        self.metrics = self.run / "metrics.jsonl"
        self.checkpoints = self.run / "checkpoints"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """TrainError when another process trains here, or nobody could; one that is finished may lie where none can."""
        lock = lock_of(self.path)
        if self.finished and not may_write(lock) and not may_write(self.path):
            yield
            return
        try:
            make_folder(lock.parent)
            lock.touch()
            if self.path.exists() and not self.path.is_dir():
                raise NotADirectoryError(ENOTDIR, "a file has that name")
        except OSError as error:
            raise TrainError(f"{self.path}: cannot be a run folder ({error.strerror}); set out to another") from error
        with locked(lock, wait=False) as ours:
            if not ours:
                raise TrainError(f"{self.path}: another process is using this run folder; wait for it or stop it")
            yield

    def begin(self, recipe: TrainRecipe, wanted: dict[str, Any], command: str | None = None) -> list[str]:
        """Make the folder ready; what another identity left is moved aside. Returns what changed: `key: old -> new`.

        `command`: a remark, for who is told how to go on with this run.
        """
        refuse_secrets_within(recipe.model_dump(mode="json"), str(self.path))
        changes, begun_with = [], self.begun_with()
        if self.stands(wanted) and self.begun_recipe() == recipe:
            return []  # nothing is new: it may lie where nothing can be written
        if begun_with not in (None, wanted):
            changes = [*differences(begun_with, wanted), f"the old run is now {self.move_aside()}"]
        make_folder(followed(self.path))  # of a link, what it leads to may be aside now
        begun = {"identity": wanted, "recipe": recipe.model_dump(mode="json"), "versions": self.versions or versions()}
        further = {"command": command or self._record().get("command"), "code": self.code or own_code(wanted)}
        write_record(self.path / "recipe.json", begun | {name: told for name, told in further.items() if told})
        return changes

    def stands(self, wanted: dict[str, Any]) -> bool:
        """Whether this very run is finished."""
        return self.finished and self.begun_with() == wanted

    def move_aside(self) -> Path:
        """Rename the folder after what it was begun with; nothing is deleted."""
        try:
            mark = digest(self.begun_with())[:8]
        except TrainError:
            mark = "damaged"
        return set_aside(followed(self.path), mark)

    @property
    def versions(self) -> dict[str, str]:
        """The packages that the run was begun with; empty before it is."""
        return self._record().get("versions", {})

    @property
    def code(self) -> dict[str, str]:
        """sha256 of the files of the user's own classes that the run was begun with, by their `kind`."""
        return self._record().get("code", {})

    def inherited(self, name: Inherit | None) -> str | None:
        """sha256 of the weights of that name that the run began with: they may be gone since."""
        begun = self.begun_with() or {}
        same = begun.get("recipe", {}).get("student", {}).get("inherit") == name
        return begun.get("inherited") if same else None

    def begun_with(self) -> dict[str, Any] | None:
        """The identity it was begun with. A recipe from before some knob existed meant that knob's default."""
        begun = self._record().get("identity")
        if begun is None:
            return None
        try:
            recipe = TrainRecipe.model_validate(self._record()["recipe"])
        except (ValidationError, DistillkitError):
            return begun
        return identity(recipe, begun["stores"], begun.get("inherited"), begun.get(NAMES))

    def _record(self) -> dict[str, Any]:
        path = self.run / "recipe.json"
        if not path.is_file():
            return {}
        record = _read(path, "identity", "recipe")
        recipe = record["recipe"]
        if isinstance(recipe, dict) and isinstance(recipe.get("data"), dict):  # a baseline of before may need it
            record["recipe"] = recipe | {"data": mended(recipe["data"])}
        return record

    @property
    def finished(self) -> bool:
        return (self.run / "student.json").is_file()

    @property
    def baseline(self) -> RunFolder:
        """The run beside this one that went without the teacher; beside selected weights its own selected ones."""
        folder = self.run / "baseline"
        return RunFolder(folder / FOLDER if is_best(self.path) and is_best(folder / FOLDER) else folder)

    def facts(self) -> dict[str, Any]:
        """What the finished student is and what it cost."""
        _ = self.finished or self.recipe()  # which says what is here instead
        return _read(self.run / "student.json", "teacher")

    def weights(self) -> dict[str, Any]:
        """Which weights these are: the `step` that they come from `of` how many; and how they were `selected`, where
        they were: by which number, how high it was, of which evaluation.
        """
        last = self.facts().get("steps")
        if not is_best(self.path):
            return {"step": last, "of": last, "selected": None}
        record, validation = _read(self.path / RECORD, "step"), self.begun_recipe().validation
        number = next((name for name in record if name not in ("step", TOLD, BY)), "")
        begun = None if validation is None else validation.eval.model_dump(mode="json")
        selected = {"number": number, "value": record.get(number), "eval": record.get(BY, {"eval": begun}).get("eval")}
        return {"step": record["step"], "of": last, "selected": selected}

    def begun_recipe(self) -> TrainRecipe:
        """The resolved recipe that this run was begun with, finished or not."""
        try:
            return validate(TrainRecipe, self._record().get("recipe"), str(self.run / "recipe.json"))
        except RecipeError as error:
            raise RecipeError(f"{error}{by_another(self.versions)}") from error

    def recipe(self) -> TrainRecipe:
        """The resolved recipe this run was made with; TrainError when there is no finished run here."""
        if not self.finished:
            begun = (self.run / "recipe.json").is_file()
            if not begun and (within := sorted(one.parent for one in self.path.glob("*/recipe.json"))):
                told = " ".join(map(str, within[:_SHOWN])) + (" ..." if within[_SHOWN:] else "")
                raise TrainError(f"{self.path}: is no run but holds {told}; name a run")
            if not begun and any((self.path / name).is_file() for name in ("manifest.json", "plan.json", "view.json")):
                raise TrainError(f"{self.path}: is a feature store, not the folder of a run; name a run")
            if self.path.is_file() and self.path.suffix == ".toml":
                raise TrainError(f"{self.path}: is a recipe, not the folder of a run; name its run, such as runs/mine")
            state = "has not finished" if begun else f"is no run folder{meant(self.path)}"
            cure = f"{'rerun' if begun else 'make one with'}: {self._command()}"
            raise TrainError(or_else(f"{self.path}: {state}", cure))
        return self.begun_recipe()

    def _command(self) -> str:
        """What trains this run: as it was typed, where it was begun by a command."""
        begun = (self.run / "recipe.json").is_file()
        if begun and (typed := retyped(self._record().get("command"), "train-student")):
            return from_here(typed)
        return "distillkit train-student RECIPE" + (
            ", where RECIPE is the recipe that it was begun with" if begun else ""
        )

    def finish(self, student: nn.Module, facts: dict[str, Any]) -> None:
        """Keep the student, then the facts that say the run is complete."""
        self.settle()
        write_record(self.path / "student.json", facts | write_weights(self.path, bytes_of(student)))

    def load_student(self) -> Any:
        """The trained student, in evaluation mode, on the CPU."""
        student, file = self.recipe().student.build("students"), self.path / FILE
        try:
            refuse_damage(self.path)
            student.load_state_dict(tensors_of(file))
        except (Damaged, FileNotFoundError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            again = "delete student.json beside it, and train-student makes both again"
            cure = "measure the run itself, or train-student --overwrite" if is_best(self.path) else again
            raise TrainError(f"{file}: damaged ({reason}); {cure}") from error
        return student.eval()

    def log(self, line: dict[str, Any]) -> None:
        append_line(self.metrics, line)

    def settle(self) -> None:
        """Make durable what was logged so far: what follows relies on it."""
        settle(self.metrics)

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be made again, so that a resumed log equals an undisturbed one."""
        keep_lines(self.metrics, lambda line: line["step"] <= step)

    def history(self) -> list[dict[str, Any]]:
        """The lines that were logged, each of numbers by name. DistillkitError where a line is damaged."""
        lines = read_lines(self.metrics)
        for line in lines:
            for name in ("step", *line):
                if not isinstance(line[name], int | float) or LARGEST < abs(line[name]) < math.inf:
                    raise log_damaged(self.metrics, f"{name!r} is {line[name]!r:.20}")
        return lines


def _read(path: Path, *keys: str) -> dict[str, Any]:
    """A record of a run; TrainError unless it is whole and has these keys."""
    cure = "train anew with train-student --overwrite"
    record = read_record(path, lambda why: TrainError(f"{path}: damaged ({why}); {cure}"))
    _ = [record[key] for key in keys]
    return record
