"""What the teacher cost as the report prints it: once, against in every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distillkit.recipe import TrainRecipe
from distillkit.report import words
from distillkit.report.commands import in_words
from distillkit.report.costs import online, teacher_pass
from distillkit.report.drawn import texts_a_step
from distillkit.report.named import alias_of, meant
from distillkit.report.stores import as_view
from distillkit.store.reading.reader import FeatureStore


def cost(recipe: TrainRecipe, facts: dict[str, Any], stores: Mapping[str, FeatureStore]) -> dict[str, Any] | None:
    """`stores`: where what the teacher said lies, by the recipe's names. None when an extraction left no log."""
    named = {name: teacher_pass(one, meant(one, alias_of(recipe.data, name))) for name, one in stores.items()}
    rows = online(recipe, facts, named, texts_a_step(recipe.data, stores))
    if not rows:
        return None
    drawn = recipe.data.sampling == "neighbours"  # how many these are in a batch is an estimate
    once_each = sum(row.once_each for row in rows)
    passes = {one.store: one for row in rows for one in row.passes}  # images and captions are of one pass
    once, always = sum(one.seconds for one in passes.values()), sum(row.seconds for row in rows)
    machines = {in_words(machine) for one in passes.values() for machine in one.machines}
    trained = max(facts["seconds"], 0.1)  # they are told to a tenth
    return {
        "once": words.duration(once),
        "passes": len(passes),
        "always": words.roughly(always),
        "times": words.times(always / trained),
        "texts_once": words.roughly(once_each) if once_each < always else "",
        "elsewhere": sorted(machines - {in_words(facts.get("machine"))}),
        "views": list(dict.fromkeys(f"{one.path} is {as_view(one)}" for one in stores.values() if one.selection)),
        "rows": [
            {
                "what": row.what,
                "stores": [one.store for one in row.passes],
                "rows": words.count(row.measured.rows),
                "once": words.duration(row.measured.seconds),
                "forward": words.duration(row.measured.forward[row.field]),
                "each": words.duration(row.each),
                "number": f"{'about ' if drawn and row.what == 'texts' else ''}{words.count(row.number)}",
                "always": words.roughly(row.seconds),
                "times": words.times(row.seconds / trained).replace(" times", "×"),
            }
            for row in rows
        ],
    }
