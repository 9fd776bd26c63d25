"""Run the evaluations that a recipe names: student, baseline and teacher, through the same code.

    distillkit evaluate runs/dime_fm

The teacher is read from the stores; only students compute anything. Out come evaluation.json, report.md, report.html.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from distillkit.callable import make_callable
from distillkit.errors import StoreError
from distillkit.evals._encode import Encode, OpenStore, stores_of
from distillkit.evaluation.encode import Student, Teacher
from distillkit.originals import moved
from distillkit.recipe import TrainRecipe
from distillkit.report import write_report
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import file_digest
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.atomic import remove_file, write_json
from distillkit.system.paths import expand
from distillkit.system.versions import versions

Say = Callable[[str], None]
TOP = 5
DONE = "evaluated.json"  # written last: what the report in this folder was made from


def evaluate(path: str | Path, say: Say = print) -> Path:
    """Evaluate the finished run at `path`; returns the path of its report. What has not changed is not done again."""
    run = RunFolder(Path(path))
    recipe = run.recipe()
    identity = _identity(run, recipe)
    open_store = lru_cache(lambda name: FeatureStore(expand(name), recipe.data.teacher))
    if _done(run, identity, open_store):
        say(f"{run.path}: already evaluated, nothing to do")
        return run.path / "report.html"
    roots = moved(recipe.data)
    student = Student(run.load_student, roots)
    encoders: dict[str, Encode] = {"teacher": Teacher(), "student": student}
    baseline = RunFolder(run.path / "baseline")
    if recipe.baseline is not None:
        baseline.recipe()
        encoders["baseline"] = Student(baseline.load_student, roots)

    results: dict[str, Any] = {}
    pictures: list[dict[str, Any]] = []
    stores: dict[str, str] = {}
    for component in recipe.evals:
        measure = component.build("evals")
        _refuse_other_teacher(open_store(measure.store), run)
        stores |= {name: open_store(name).digest for name in stores_of(measure)}
        results[measure.name] = {who: measure.run(encode, open_store) for who, encode in encoders.items()}
        for who, values in results[measure.name].items():
            say(f"{measure.name}: {who:9} " + "  ".join(f"{k} {v:.4g}" for k, v in values.items() if "." not in k))
        if hasattr(measure, "nearest") and not pictures:
            pictures = _pictures(measure, encoders, open_store, roots)
    own_texts = bool(recipe.evals) and student.has_texts
    remove_file(run.path / DONE)  # what it speaks of is another evaluation from here on
    write_json(run.path / "evaluation.json", {"results": results, "pictures": pictures, "own_texts": own_texts})
    report = write_report(run, baseline if recipe.baseline else None)
    write_json(run.path / DONE, {"identity": identity, "stores": stores})
    return report


def _identity(run: RunFolder, recipe: TrainRecipe) -> dict[str, Any]:
    """What an evaluation depends on, beside the stores it reads."""
    students = [folder / "student.safetensors" for folder in (run.path, run.path / "baseline")]
    return {
        "evals": [component.model_dump(mode="json") for component in recipe.evals],
        "students": [file_digest(path).sha256 for path in students if path.is_file()],
        "distillkit": versions()["distillkit"],
    }


def _done(run: RunFolder, identity: dict[str, Any], open_store: OpenStore) -> bool:
    """Whether this very evaluation stands in the run folder, report included, and its stores are what they were."""
    if not (run.path / DONE).is_file() or not (run.path / "report.html").is_file():
        return False
    record = json.loads((run.path / DONE).read_bytes())
    return record["identity"] == identity and all(
        open_store(name).digest == digest for name, digest in record["stores"].items()
    )


def _refuse_other_teacher(store: FeatureStore, run: RunFolder) -> None:
    have, want = store.teacher("image"), run.facts()["teacher"]
    name = next((key for key in want if have.get(key) != want[key]), None)
    if name is not None:
        raise StoreError(
            f"{store.path}: made by another teacher than {run.path} was trained with ({name}: {have.get(name)!r} "
            f"against {want[name]!r}); extract it with that teacher, or train again"
        )


def _pictures(
    measure: Any, encoders: dict[str, Encode], open_store: OpenStore, roots: Mapping[Path, str]
) -> list[dict[str, Any]]:
    """For every image of the evaluation: its file, its own text, and the nearest texts by each encoder."""
    store = open_store(measure.store)
    index = store.index.take(store.ok_rows)
    nearest = {who: measure.nearest(encode, open_store, TOP) for who, encode in encoders.items()}
    return [
        _place(store, int(store.ok_rows[row]), image, roots.get(store.path.resolve()))
        | {"text": text}
        | {who: [names[place] for place in places[row].tolist()] for who, (places, names) in nearest.items()}
        for row, (image, text) in enumerate(zip(index["image"].to_pylist(), index["text"].to_pylist(), strict=True))
    ]


def _place(store: FeatureStore, row: int, location: str, root: str | None) -> dict[str, Any]:
    """Where the report finds an image: its file; or the row of a store, for an image that lies within another file."""
    path = Path(root or store.root or "") / location
    within = {"store": str(store.path.absolute()), "row": row, "root": root}
    return {"image": str(path)} | ({} if path.is_file() else within)


make_callable(__name__)
