"""Everything the two templates print, gathered from the run folder, evaluation.json and the stores."""

from __future__ import annotations

import json
from typing import Any

from distillkit.evals._encode import asks_texts
from distillkit.evals._labels import UNSHOWN
from distillkit.evaluation.rows import Rows
from distillkit.recipe import Baseline, Component, TrainRecipe
from distillkit.report import words
from distillkit.report.answers import by_chance, listed, rows_of, with_absent_classes
from distillkit.report.commands import commands, in_short, in_words, measured_besides
from distillkit.report.cost_table import cost
from distillkit.report.costs import teacher_pass
from distillkit.report.demo import demo_credits, demo_folder, teacher_name
from distillkit.report.differing import Differing, differing
from distillkit.report.grid import distance, pictures
from distillkit.report.headline import Networks, above_chance, against_baseline, headline, numbers
from distillkit.report.history import drawings, formula
from distillkit.report.knew import Knew, knew, notes
from distillkit.report.named import alias_of, of_images
from distillkit.report.results import FREQUENT, WHO, Table, bars, method, tables
from distillkit.report.stores import evaluation_stores, mined_for, said_at, store_facts, training_stores, with_bases
from distillkit.report.taught import further_teachers, taught
from distillkit.report.then import as_then, changes, other_now
from distillkit.report.training import batch, optimiser, schedule, seen_in_training, weights
from distillkit.report.weights import measured_weights
from distillkit.runfolder import RunFolder
from distillkit.system.wording import count as counted

Values = dict[str, Any]


_UNAIDED = ("contrastive", "sigmoid", "one_hot", "caption_contrast")  # terms that read no image feature of the teacher


def page(run: RunFolder, baseline: RunFolder | None, evaluation: Values) -> Values:
    """The values of both templates. Numbers are already text: a template only lays them out."""
    recipe, facts = run.recipe(), run.facts()
    results = with_absent_classes(tables(evaluation["results"], recipe), run.path, evaluation)
    rows = rows_of(run.path, evaluation, results[0].name) if results else None
    differ = differing(run.path, evaluation)
    trained, then = training_stores(run), as_then(run)
    said_in = {name: said_at(store, alias_of(recipe.data, name)) for name, store in trained.items()}
    measured = evaluation_stores(recipe, _asked(evaluation))
    # Stores before what was added to them, as they are made again.
    every = [
        *trained.values(),
        *measured,
        *said_in.values(),
        *(said_at(store, recipe.data.teacher) for store in measured),
    ]
    stores = list({str(store.path): store for store in every}.values())
    passes = {str(store.path): teacher_pass(store, recipe.data.teacher) for store in with_bases(stores)}
    known = knew(results, evaluation, of_images(then))
    demo = demo_folder(stores)
    parameters, towers = facts["teacher"].get("parameters", {}), facts.get("towers", {})
    networks = Networks(
        student=recipe.student.called,
        teacher=teacher_name(facts["teacher"]["model"], demo),
        student_parameters=towers.get("image", facts["parameters"]),
        teacher_parameters=parameters.get("image") if "images" in trained else None,
    )
    return {
        "recipe": recipe,
        "quick": "quick" in f"{recipe.name} {recipe.note or ''}".lower(),
        "networks": networks,
        "article": "an" if networks.student[:1].lower() in "aeio" else "a",
        "image_size": recipe.student.knobs.get("image_size"),
        "taught": taught(recipe, facts, then, demo),
        **_results(results, rows, networks, known, differ, len(evaluation["results"]) > 1),
        "others": _others(run, evaluation, results[1:], differ),
        "changed": changes(then),
        **_sizes(towers | {"all": facts["parameters"]}, parameters, "image" if "images" in trained else "text"),
        "own_texts": evaluation.get("own_texts", False),
        "texts_asked": any(asks_texts(one.build("evals")) for one in _asked(evaluation)),
        "measured": measured_weights(run, baseline, _asked(evaluation)),
        **_pictures(rows, evaluation),
        "objective": formula(recipe.losses),
        "baseline": _baseline(baseline, recipe),
        "curves": drawings(_histories(run, baseline, recipe), schedule(recipe.optim)),
        "cost": cost(recipe, facts, said_in),
        "stores": [store_facts(store, passes[str(store.path)], other_now(store, then)) for store in with_bases(stores)],
        "commands": commands(
            run.path,
            facts,
            [store.path for store in with_bases(stores) if not store.selection],
            demo,
            [store.selection for store in stores if store.selection],
            mined_for(recipe, trained),
            then,
        )
        + measured_besides(run.path, recipe, evaluation.get("evals", {})),
        "facts": _facts(facts),
        "seen_in_training": seen_in_training(recipe.data, facts),
        "batch": batch(recipe.data),
        "optimiser": optimiser(recipe.optim),
        "teachers": [
            {"model": one.get("model", "of an import"), "weights": weights(one)}
            for one in (facts["teacher"], *further_teachers(then))
        ],
        "versions": run.versions,
        "resolved": json.dumps(recipe.model_dump(mode="json", exclude_none=True), indent=2, ensure_ascii=False),
        "credits": demo_credits() if demo else [],
    }


def _asked(evaluation: Values) -> list[Component]:
    """What the student was measured by."""
    return [Component(**one["eval"]) for one in evaluation.get("evals", {}).values()]


def _results(
    results: list[Table],
    rows: Rows | None,
    networks: Networks,
    known: dict[str, Knew],
    differ: Differing,
    several: bool,
) -> Values:
    """The tables, and what the first of them comes to in words and in bars. `rows` are the first one's, and `known` is
    whether the images of each were trained on; `several`: they are of more than one eval.
    """
    first = results[0] if results else None
    test = differ.test_of(first.name, first.main.name) if first and first.main else None
    tests = differ.tests
    if first and first.main and test:
        differ = differ.but(first.name, first.main.name)
    guessed = by_chance(rows, first.main.name) if first and first.main else {}
    seen = known[first.name].told if first else ""
    short = headline(first, networks, seen, None, several, differ, guessed)
    heading = headline(first, networks, seen, test, several, differ, guessed)
    tested = heading.removeprefix(short).removeprefix("; ")  # a line of its own: all in one would be half a page
    verdict = (
        [above_chance(first, guessed), against_baseline(first, test, tests), differ.of(first.name)] if first else []
    )
    return {
        "tables": results,
        "headline": short,
        "tested": tested[:1].upper() + tested[1:],
        "knew": notes(known, heading, {table.name: table.eval for table in results}),
        "numbers": numbers(first) if first else "",
        "verdict": " ".join(filter(None, verdict)),
        "bars": bars(first) if first else [],
        "method": method(results),
        "unshown": any(UNSHOWN in table.caption for table in results),
        "frequent": FREQUENT if any(FREQUENT in table.rows for table in results) else "",
        "per_text": any(measure.name.endswith("per text") for table in results for measure in table.measures),
    }


def _others(run: RunFolder, evaluation: Values, results: list[Table], differ: Differing) -> list[tuple[str, str]]:
    """Of the evals after the first, by name: what paired tests say of student and baseline."""
    told = []
    for table in results:
        test = differ.test_of(table.name, table.main.name) if table.main else None
        found = differ.but(table.name, table.main.name if table.main and test else "").of(table.name)
        if test is not None or found:
            verdict = against_baseline(table, test, differ.tests)
            told.append((table.name, " ".join(filter(None, [numbers(table), verdict, found]))))
    return told


def _sizes(own: dict[str, int], teacher: dict[str, int], tower: str) -> Values:
    """Parameters of the towers that are compared, by row of a result table; the part of the teacher's that the student
    has. `tower`: which of the teacher's it stands for.
    """
    student = own.get(tower, own["all"])  # older runs tell no towers
    sizes = {"teacher": teacher.get(tower), "student": student, "baseline": student}
    return {
        "tower": f"{tower} tower",
        "sizes": {who: words.parameters(number) for who, number in sizes.items()} | {"chance": "", FREQUENT: ""},
        "own_text_size": words.parameters(own["text"]) if tower == "image" and own.get("text") else "",
        "text_size": words.parameters(teacher["text"]) if "text" in teacher else "",
        "part": words.part_of(student, teacher[tower]) if tower in teacher else None,
    }


def _pictures(rows: Rows | None, evaluation: Values) -> Values:
    found = listed(rows, evaluation)
    if found is None:
        return {
            "pictures": [],
            "listed": "0",
            "listed_images": "",
            "distance": "",
            "right": "",
            "asked_for": "text",
            "nearest": "",
        }
    right = [f"{words.percent(found.right[who])} ({who})" for who in WHO if who in found.right]
    return {
        "pictures": pictures(found.images),
        "listed": words.count(found.count),
        "listed_images": counted(found.count, "image"),
        "distance": distance(len(found.images), found.count),
        "right": words.listing(right),
        "asked_for": found.what,
        "nearest": "classes with the most votes (five at most)"
        if found.voted
        else f"five nearest {'texts' if found.what == 'text' else 'classes'}",
    }


def _baseline(baseline: RunFolder | None, recipe: TrainRecipe) -> Values | None:
    if baseline is None or recipe.baseline is None:
        return None
    facts = baseline.facts()
    return {
        "alike": _alike(recipe.baseline, facts["steps"]),
        "objective": formula(recipe.baseline.losses),
        "captions": recipe.baseline.captions != "none",
        "unaided": all(term.kind in _UNAIDED for term in recipe.baseline.losses),
        "seconds": words.duration(facts["seconds"]),
    }


def _alike(baseline: Baseline, steps: int) -> str:
    """In what it is as the student is."""
    if baseline.images is None and baseline.epochs is None:
        return "the same network, seed, data order and budget"
    seen = f", the images of {baseline.images} alone" if baseline.images else ""
    return f"the same network and seed{seen}, {counted(steps, 'step')}"


def _histories(run: RunFolder, baseline: RunFolder | None, recipe: TrainRecipe) -> Values:
    found = {"student": (run.history(), recipe.losses)}
    if baseline is not None and recipe.baseline is not None:
        found["baseline"] = (baseline.history(), recipe.baseline.losses)
    return found


def _facts(facts: Values) -> dict[str, str]:
    return {
        "seconds": words.duration(facts["seconds"]),
        "steps": words.count(facts["steps"]),
        "machine": in_words(facts.get("machine")),
        "processor": in_short(facts.get("machine")),
    }
