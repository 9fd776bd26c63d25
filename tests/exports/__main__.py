"""The table of docs/export.md: students of finished runs at every target, each opened where there is no distillkit.

    ONNXRUNTIME_WEB=.venv/web/package python -m tests.exports runs/dime_fm runs/clip_kd --out exported

exports each run to every target that holds it (into OUT, which stays), asks those folders in a Python without
distillkit about all pictures of --store, and compares recall with the student's own. benchmarks/results/exports.json
keeps what came out, of these runs and of those asked before; the table in docs/export.md is made of it.
"""

import argparse
import datetime
import json
import tempfile
from pathlib import Path

import torch

from distillkit.errors import ExportError
from distillkit.evals.zero_shot import ZeroShot
from distillkit.export import export
from distillkit.recipe.registry import kinds
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.machine import machine
from distillkit.system.versions import versions
from tests.exports.demo import Before, asked_of, bare_python, said_alone, unit
from tests.exports.table import GUIDE, RESULT, in_guide
from tests.exports.test_web import NPM

LOWER = {"onnx": ("fp16", "int8")}  # the target whose lower precisions are measured, too
NETWORKS = (".safetensors", ".onnx", ".pt2", ".pte")
KS = (1, 10)


def leave(run, out, prompts, targets, lower):
    """The run's student at each target and precision (`lower`: of which target, which): a folder, or why it cannot go
    there.
    """
    found, shows = {}, {"classes": prompts}
    for to in targets:
        knobs = shows if to in ("classifier", "web") else {}
        if to == "web":
            knobs = knobs | {"runtime_dir": NPM}
        if to in ("open_clip", "web") and "text" not in run.load_student().widths:
            knobs = knobs | {"text_tower": "teacher"}
        for precision in ("fp32", *lower.get(to, ())):
            place = out / run.path.name / f"{to}-{precision}"
            try:
                found[to, precision] = export(run.path, to, precision=precision, out=place, say=print, **knobs)
            except ExportError as refusal:
                found[to, precision] = str(refusal)
                print(refusal)
    return found


class Asked:
    """A store of pictures and captions, and the classes that it is told apart by."""

    def __init__(self, store, prompts, classes):
        self.store, self.prompts = FeatureStore(store), prompts
        self.pictures, self.texts = asked_of(self.store)
        labels, named = ZeroShot(store=store, prompts=prompts, classes=classes).check(FeatureStore)
        self.labelled, self.label = torch.from_numpy(labels.places), named.numbers(labels)


def recall(scores, right):
    """R@k in per cent; `right`: the place of each row's answer."""
    ranks = (scores > scores.gather(1, right[:, None])).sum(1)
    return [round(100 * float((ranks < k).double().mean()), 2) for k in KS]


def recall_of_alike(images, right):
    """Whether another picture with the same caption is among the k nearest."""
    nearest = (unit(images) @ unit(images).T).fill_diagonal_(-2).topk(max(KS)).indices
    alike = right[nearest] == right[:, None]
    return [round(100 * float(alike[:, :k].any(1).double().mean()), 2) for k in KS]


def compared(before, asked, to, said):
    """What is looked for, and recall before and after."""
    images, texts = said
    if to == "classifier":
        both = before.scores(FeatureStore(asked.prompts)), torch.from_numpy(images)
        return "its class", [recall(one[asked.labelled], asked.label) for one in both]
    answers = before.answers(texts)
    if answers is None:
        return "a picture alike", [recall_of_alike(one, before.right) for one in (before.images, images)]
    scores = (unit(one) @ unit(other).T for one, other in zip((before.images, images), answers, strict=True))
    return "its caption", [recall(one, before.right) for one in scores]


def rows(run, left, said, asked):
    """A row for each target: what the gate said (distillkit.json), and what the folder said where it was alone."""
    teacher, befores = run.facts()["teacher"], {}
    for (to, precision), folder in left.items():
        row = {"student": run.recipe().name, "kind": run.recipe().student.called, "to": to, "precision": precision}
        if isinstance(folder, str):
            yield row | {"refused": folder.partition(": cannot be exported to ")[2].partition(": ")[2] or folder}
            continue
        parity = json.loads((folder / "distillkit.json").read_bytes())["parity"]
        beside = "text" not in run.load_student().widths and said[to, precision][1] is not None
        if beside not in befores:
            befores[beside] = Before(run, asked.store, with_teacher=beside)
        what, (before, after) = compared(befores[beside], asked, to, said[to, precision])
        yield row | {
            "text_tower": None if said[to, precision][1] is None else "teacher" if beside else "own",
            "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in NETWORKS),
            "teacher_bytes": 4 * sum(teacher["parameters"].values()),
            "worst": {tower["name"]: tower["worst"] for tower in parity["towers"]},
            "kept": [note for note in parity["notes"] if note.startswith("kept in fp32")],
            "finds": what,
            "pictures": len(asked.labelled) if to == "classifier" else len(asked.pictures),
            "before": before,
            "after": after,
        }


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.exports", description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the exports")
    parser.add_argument("--store", default="stores/demo/unseen")
    parser.add_argument("--prompts", default="stores/demo/prompts")
    parser.add_argument("--classes", help="the file of class names behind the prompts")
    parser.add_argument("--fp32", action="store_true", help="full precision alone, which takes half the time")
    parser.add_argument("--only", nargs="+", choices=list(kinds("exports")), default=list(kinds("exports")))
    given = parser.parse_args()
    asked = Asked(given.store, given.prompts, given.classes)
    with tempfile.TemporaryDirectory() as place:
        python = bare_python(Path(place) / "venv")
        for run in map(RunFolder, given.runs):
            left = leave(run, given.out.absolute(), given.prompts, given.only, {} if given.fp32 else LOWER)
            folders = {one: (path, one[0]) for one, path in left.items() if isinstance(path, Path)}
            said = said_alone(python, folders, asked.pictures, asked.texts, Path(place))
            keep([*rows(run, left, said, asked)])


def keep(found):
    """Renew what was measured of these students, and the table."""
    kept = json.loads(RESULT.read_bytes())["rows"] if RESULT.is_file() else []
    every = {(row["student"], row["to"], row["precision"]): row for row in [*kept, *found]}
    told = {"date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"), "machine": machine()}
    told |= {"versions": versions(), "rows": list(every.values())}
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    GUIDE.write_text(in_guide(GUIDE.read_text(), told["rows"]))


if __name__ == "__main__":
    main()
