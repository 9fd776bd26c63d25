"""Numbers in the files of other tools, from the one table of evaluation.json.

clip_benchmark    a JSON file for each network and eval, as `clip_benchmark eval` writes it and `build` reads it
mteb              a result file for each network and eval, in the folders that MTEB loads results from
eval_results      YAML for a model repository of the Hugging Face hub, an entry for each number that has an interval
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distillkit.evaluation.asked import slug_of
from distillkit.evaluation.numbers import DETAILS
from distillkit.evaluation.whose import file_names
from distillkit.system.atomic import atomic_file

# What clip_benchmark calls our numbers.
_CLASSES = {"top-1": "acc1", "top-5": "acc5", "mean per class": "mean_per_class_recall"}
_MAIN = ("top-1", "R@10", "R@5", "R@1")
# Which of clip_benchmark's tasks an eval is.
_TASKS = {"zero_shot": "zeroshot_classification", "retrieval": "zeroshot_retrieval", "linear_probe": "linear_probe"}

Evaluation = Mapping[str, Any]


def export(folder: Path, form: str, evaluation: Evaluation, model: str) -> Path:
    """Write the files of a format below `folder`; returns the folder, or the one file. `model` is what they call it."""
    made = FORMATS[form](evaluation, model)
    for name, text in made.items():
        with atomic_file(folder / name) as file:
            file.write(text.encode())
    return folder / next(iter(made)) if len(made) == 1 else folder


def clip_benchmark(evaluation: Evaluation, model: str) -> dict[str, str]:
    """Of the evals that clip_benchmark has, too."""
    files, called = {}, file_names(evaluation["results"])
    for name, who, numbers, asked in _each(evaluation):
        task = _TASKS.get(asked.get("eval", {}).get("kind", ""))
        if task is None:
            continue
        record = {
            "dataset": name,
            "model": f"{model}/{who}",
            "pretrained": evaluation["networks"][who],
            "task": task,
            "metrics": _as_clip_benchmark(numbers),
            "language": "en",
        } | ({"classnames": asked["names"]} if "names" in asked and task != "zeroshot_retrieval" else {})
        files[f"{who}_{called[name]}.json"] = json.dumps(record, indent=1, ensure_ascii=False)
    return files


def _as_clip_benchmark(numbers: Mapping[str, float]) -> dict[str, float]:
    found = {theirs: numbers[ours] for ours, theirs in _CLASSES.items() if ours in numbers}
    for name, value in numbers.items():
        direction, _, k = name.rpartition("R@")
        if k.isdigit() and direction in ("", "text to image "):
            found[f"{'image' if direction else 'text'}_retrieval_recall@{k}"] = value
    return found


def mteb(evaluation: Evaluation, model: str) -> dict[str, str]:
    """MODEL__NETWORK/WEIGHTS/EVAL.json and a model_meta.json beside them; fields are those of MTEB's TaskResult."""
    files, called = {}, file_names(evaluation["results"])
    for name, who, numbers, asked in _each(evaluation):
        place = f"{slug_of(model)}__{who}/{slug_of(evaluation['networks'][who])[:40]}"
        main = next((one for one in _MAIN if one in numbers), next(iter(numbers)))
        scores = {key: value for key, value in numbers.items() if not key.endswith(DETAILS)}
        stores = "-".join(digest[:12] for digest in asked.get("stores", {}).values())
        record = {
            "dataset_revision": stores,
            "task_name": name,
            "mteb_version": "distillkit",
            "scores": {
                "test": [{"main_score": numbers[main], "hf_subset": "default", "languages": ["eng-Latn"], **scores}]
            },
            "evaluation_time": None,
            "kg_co2_emissions": None,
        }
        files[f"{place}/{called[name]}.json"] = json.dumps(record, indent=2, ensure_ascii=False)
        meta = {"name": f"{model}/{who}", "revision": evaluation["networks"][who], "framework": ["PyTorch"]}
        files[f"{place}/model_meta.json"] = json.dumps(meta, indent=2, ensure_ascii=False)
    return files


def eval_results(evaluation: Evaluation, model: str) -> dict[str, str]:
    """Entries of the student, or of whoever is there. Datasets are called by their stores: put the hub's ids there."""
    networks = evaluation["networks"]
    meant = "student" if "student" in networks else next(iter(networks))
    lines = []
    for name, who, numbers, asked in _each(evaluation):
        if who != meant:
            continue
        dataset = str(asked.get("eval", {}).get("store", name))
        for measure, value in numbers.items():
            if f"{measure}.low" not in numbers:
                continue
            ends = f"95 % interval {numbers[f'{measure}.low']:.6g} to {numbers[f'{measure}.high']:.6g}"
            lines += [
                "- dataset:",
                f"    id: {json.dumps(dataset)}",
                f"    task_id: {json.dumps(f'{name}: {measure}')}",
                f"  value: {value!r}",
                f"  notes: {json.dumps(f'{model}; {ends}')}",
            ]
    return {"eval_results.yaml": "\n".join(lines) + "\n" if lines else "[]\n"}


FORMATS: dict[str, Callable[[Evaluation, str], dict[str, str]]] = {
    "clip_benchmark": clip_benchmark,
    "mteb": mteb,
    "eval_results": eval_results,
}


def _each(evaluation: Evaluation) -> list[tuple[str, str, Mapping[str, float], Mapping[str, Any]]]:
    """Eval, network, its numbers, and what was asked."""
    asked = evaluation.get("evals", {})
    return [
        (name, who, numbers, asked.get(name, {}))
        for name, by_who in evaluation["results"].items()
        for who, numbers in by_who.items()
    ]
