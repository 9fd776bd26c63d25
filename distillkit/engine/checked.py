"""What can be known of an extraction before a weight is loaded: its corpora are planned, its teachers outlined."""

from __future__ import annotations

from pathlib import Path

from distillkit.callable import Say
from distillkit.engine.early import refuse_unfit
from distillkit.engine.going_on import refuse_another
from distillkit.engine.job import Job, store_at
from distillkit.engine.planning import Planned, planned
from distillkit.engine.successor import recover
from distillkit.recipe import Corpus, ExtractRecipe
from distillkit.store.bucket.remote import workplace
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand
from distillkit.system.wording import as_word, count


def checked(recipe: ExtractRecipe, say: Say, file: str = "RECIPE") -> list[str]:
    """Teachers, corpora and stores, a line each. `file`: where the recipe is, as it is typed.

    DistillkitError for what an extraction would refuse before it loads a teacher: one that is not there or does not
    give what is asked, a corpus that is none, a store that would have to make way. Nothing is written;
    only a store that a run left between two names, complete, gets its own.
    """
    out, lines = workplace(expand(recipe.out)), list[str]()
    outlined = refuse_unfit(recipe, out)
    for alias, component in recipe.by_alias.items():
        lines.append(f"teacher      {alias}: {component.called}")
    for corpus, job in zip(recipe.corpora, outlined, strict=True):
        recover(store_at(out, corpus))
        plan = planned(corpus, store_at(out, corpus), say)
        if job:
            refuse_another(job, plan, False)
        lines += _told(corpus, plan, store_at(out, corpus), job)
    return [*lines, f"next         what it would take: distillkit extract-teacher {as_word(file)} --plan"]


def _told(corpus: Corpus, plan: Planned, store: Path, job: Job | None) -> list[str]:
    stands = "is there" if (store / FILE_NAME).is_file() else "is begun" if store.exists() else "is not there yet"
    if job and (store / FILE_NAME).is_file() and (new := _to_add(job)):
        unless = "unless their weights are there under another name"
        stands = f"is there and stays as it is; {' and '.join(new)} would be added to it, {unless}"
    fields = (
        ", ".join(job.fields) if job else f"{', '.join(corpus.fields)} (that its teachers give them, they say later)"
    )
    classes = f", {count(len(plan.classes), 'class', 'classes')}" if plan.classes else ""
    return [
        f"corpus       {corpus.name}: {count(plan.rows.num_rows, 'row')} of {corpus.source.kind}{classes}",
        *([f"             {plan.repeated}"] if plan.repeated else []),
        f"store        {store}: {stands}; fields {fields}",
    ]


def _to_add(job: Job) -> list[str]:
    """The teachers that a finished store does not have, by the names that the recipe has for them."""
    known = FeatureStore(job.path).teachers
    return [alias for alias in dict.fromkeys(alias for alias, _ in job.asked) if alias not in known]
