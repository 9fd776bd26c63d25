"""What would end a run after hours, tried before its first step: trackers, validation, the stores of its evals."""

from __future__ import annotations

from typing import Any

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.evals._encode import stores_of
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from distillkit.students._count import image_macs
from distillkit.system.paths import expand
from distillkit.training.trackers import refuse_missing
from distillkit.training.validation import Validator


def try_out(recipe: TrainRecipe, run: RunFolder, student: Any, say: Say) -> None:
    """Refuse what would be refused while the student trains, or of labels later; tell what its evaluation will lack."""
    refuse_missing(recipe.log)
    image_macs(student)  # it looks at a picture
    Validator(recipe, run).try_out(student)
    for number, component in enumerate(recipe.evals):
        measure: Any = component.build("evals")
        try:
            stores = {name: FeatureStore(expand(name), recipe.data.teacher) for name in stores_of(measure)}
        except StoreError as error:
            say(f"evals[{number}]: its store is needed when the student is evaluated: {error}")
            continue
        if hasattr(measure, "check"):
            measure.check(stores.__getitem__)
