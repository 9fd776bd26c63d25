"""The model card: README.md of an exported folder, with front matter as model hubs read it."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distillkit.evaluation.formats import eval_results
from distillkit.evaluation.numbers import DETAILS
from distillkit.evaluation.result import read_result
from distillkit.exports._described import Described
from distillkit.exports._mending import DIFFERS
from distillkit.exports._tokens import FILE as TOKENIZER
from distillkit.parity.gate import Parity
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.system.atomic import make_folder
from distillkit.system.versions import versions
from distillkit.system.wording import count, network

CARD = "README.md"
RESULTS = ".eval_results"
_WHERE = "Run this inside this folder: it opens files by names that begin here."
_CONVERTERS = ("onnx", "onnxruntime", "onnxscript", "transformers", "tokenizers")


def write_card(folder: Path, run: RunFolder, student: Described, to: str, target: Any, parity: Parity) -> None:
    """Say in `folder` what the student is, where it is from, what it can do, and how it is opened."""
    recipe, facts = run.recipe(), run.facts()
    parts = [
        _front(student),
        f"# {student.name}\n",
        f"A student that distillkit trained, for {to}.",
        _facts(recipe, facts, student, run.weights()),
        _opened(target, student),
        _results(run),
        _parity(parity),
        _split(folder, to),
        _versions(),
    ]
    (folder / CARD).write_text("\n\n".join(filter(None, parts)).rstrip() + "\n", encoding="utf-8")
    _write_results(folder, run, student.name)


def _front(student: Described) -> str:
    # In quotes, as JSON has them, where YAML would read more than a word: hubs refuse a card that they cannot read.
    licence = student.licence or "unknown"
    told = licence if re.fullmatch(r"[A-Za-z][\w.-]*", licence) else json.dumps(" ".join(licence.split()))
    lines = [f"license: {told}", "tags:", "- distillation", "- image-feature-extraction"]
    return "---\n" + "\n".join(lines) + "\n---"


def _opened(target: Any, student: Described) -> str:
    """The lines that open it; Python, where the target names no other language."""
    language = getattr(target, "language", "python")
    return f"## How to open it\n\n{_WHERE}\n\n```{language}\n{target.lines(student).rstrip()}\n```"


def _facts(recipe: TrainRecipe, facts: dict[str, Any], student: Described, weights: dict[str, Any]) -> str:
    chosen = weights["selected"]
    texts = "none" if student.text is None else _public(network(student.text.whose))
    rows = {
        "recipe": recipe.name + (f", after {recipe.paper}" if recipe.paper else ""),
        "student": recipe.student.called,
        "parameters": f"{facts['parameters']:,}",
        "losses": ", ".join(str(term.knobs.get("name") or term.kind) for term in recipe.losses),
        "teacher": _teacher(facts["teacher"]),
        **{f"further teacher, {name}": _teacher(facts.get("also", {}).get(name, {})) for name in recipe.data.also},
        "text tower": texts,
        "data": ", ".join(f"{name} {_public(place)}" for name, place in facts.get("stores", {}).items()),
        "training": f"{count(facts['steps'], 'step')}, {count(facts['images_seen'], 'image')} seen",
        "weights": f"of step {weights['step']:,}, selected for the best {chosen['number']} ({chosen['value']:.4g})"
        if chosen
        else "",
        "pictures": _shown(student),
        "scale of cosines": "" if student.scale is None else f"{student.scale:.6g}",
        "licence": student.licence
        or "unknown: name it with --licence; the teacher's weights and the data have their own",
        "left out": "; ".join(student.missing),
    }
    told = [f"| {name} | {cell(value)} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "|---|---|", *told])


def _teacher(fingerprint: dict[str, Any]) -> str:
    """Whose answers they were. Of further teachers older runs kept nothing."""
    model = fingerprint.get("model", "of an import") if fingerprint else "not recorded"
    return f"{_public(network(str(model)))}, weights sha256 {fingerprint.get('weights_sha256', 'unknown')}"


def _public(place: str) -> str:
    """A place of this machine as a card that may go to a hub tells it: its name, not the way there."""
    scheme, kind, rest = place.rpartition("local-dir:")
    return scheme + kind + (Path(rest).name if Path(rest).is_absolute() else rest)


def _shown(student: Described) -> str:
    if student.image is None:
        return ""
    shown = student.image.shown
    mean, std = (" ".join(f"{value:.6g}" for value in values) for values in (shown.mean, shown.std))
    return (
        f"RGB, short side to {shown.size} pixels ({shown.interpolation}), middle cut; mean {mean}, std {std} of 0 to 1"
    )


def _results(run: RunFolder) -> str:
    """The numbers of the run's evaluation, teacher and baseline beside the student."""
    path = run.path / "evaluation.json"
    if not path.is_file():
        return ""
    lines = ["## Results\n"]
    for name, told in read_result(run.path)["results"].items():
        who = list(told)
        lines += [f"**{cell(name)}**\n", "| | " + " | ".join(who) + " |", "|---" * (len(who) + 1) + "|"]
        numbers = [key for key in told[who[0]] if not key.endswith(DETAILS)]
        lines += [f"| {key} | " + " | ".join(_number(told[one], key) for one in who) + " |" for key in numbers] + [""]
    return "\n".join(lines).rstrip()


def _write_results(folder: Path, run: RunFolder, name: str) -> None:
    """The student's numbers as model hubs read them: https://huggingface.co/docs/hub/eval-results"""
    path = run.path / "evaluation.json"
    if not path.is_file():
        return
    for file, text in eval_results(read_result(run.path), name).items():
        make_folder(folder / RESULTS)
        (folder / RESULTS / file).write_text(text, encoding="utf-8")


def _number(values: dict[str, float], key: str) -> str:
    if key not in values:
        return ""
    low, high = values.get(f"{key}.low"), values.get(f"{key}.high")
    return f"{values[key]:.4g}" + ("" if low is None or high is None else f" ({low:.4g} to {high:.4g})")


def _parity(parity: Parity) -> str:
    told = [f"- {line}" for line in parity.lines]
    loss = f"\n\n**Written although it answers otherwise:** {parity.refusal}." if parity.refusal else ""
    return (
        f"## Parity\n\nThis folder ({parity.precision}) and the student it was made of were asked the same, from "
        f"{parity.asked_of}; towers about middle squares (of other pictures this folder sees whole pixels, and the "
        "student a fraction more or less of them):\n\n" + "\n".join(told) + loss
    )


def _split(folder: Path, to: str) -> str:
    """What its tokenizer.json makes other tokens of than the student does; open_clip mends texts itself."""
    if to == "open_clip" or next(folder.rglob(TOKENIZER), None) is None:
        return ""
    return f"`{TOKENIZER}` splits texts as the student's own tokenizer does, except {DIFFERS}."


def _versions() -> str:
    return "Made with " + ", ".join(f"{name} {told}" for name, told in (versions() | _converters()).items()) + "."


def _converters() -> dict[str, str]:
    found = {}
    for name in _CONVERTERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # not installed, so not used
            continue
    return found


def cell(value: object) -> str:
    """A value within a table of Markdown."""
    return str(value).replace("|", "\\|").replace("\n", " ")
