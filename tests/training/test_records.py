"""What a run keeps of itself, changed by whoever: told in one line that names the file, or read."""

import json
import random
import shutil
from functools import partial

import pyarrow as pa
import pytest

from distillkit.compare import compare
from distillkit.errors import DistillkitError, StoreError
from distillkit.evaluate import evaluate
from distillkit.evaluation.rows import read_rows
from distillkit.extract import extract
from distillkit.report import write_report
from distillkit.runfolder import RunFolder
from distillkit.system.record import SEAL, of_object
from distillkit.teachers._students import student_without_weights
from distillkit.train import train
from tests.faults.hostile import mutated
from tests.faults.world import TRAIN, recipe, squares
from tests.records import without_checksum

RECORDS = ("recipe.json", "student.json", "best/best.json", "evaluation.json", "evaluation/near.json")
FILES = (*RECORDS, "metrics.jsonl", "validation.jsonl", "evaluated.json", "evaluation/agreement.arrow")
STRANGE = (None, "x", "", -1, 0.5, 1e300, 10**30, True, [], [1], {}, {"a": 1})
TOLD = f'not as it was written; if you changed it on purpose, delete its "{SEAL}"'


def quiet(line):
    pass


def trained(root, name, seed):
    text = TRAIN.format(folder=root, images=root / "images", named="near")
    text = text.replace(f"{root}/deep/runs/toy", f"{root}/{name}")
    more = f'evals = [{{ kind = "agreement", store = "{root}/images", k = 3 }}, '
    (root / f"{name}.toml").write_text(text.replace("evals = [", more) + f"seed = {seed}\n")
    evaluate(train(root / f"{name}.toml", quiet), quiet)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    corpus = squares(root / "corpus", 40)
    (root / "extract.toml").write_text(recipe(root, corpus, {"one": 1.0}, ["image"]))
    extract(root / "extract.toml", quiet)
    trained(root, "other", 1)
    trained(root, "run", 0)
    shutil.copytree(root / "run", root / "kept")
    return root


@pytest.fixture
def run(world):
    """As it was written."""
    shutil.rmtree(world / "run")
    return shutil.copytree(world / "kept", world / "run")


def readers(run):
    """All that opens a run."""
    root, folder, best = run.parent, RunFolder(run), RunFolder(run / "best")
    both = partial(compare, [root / "other", run], quiet, out=root / "compared")
    return {
        "facts": folder.facts,
        "history": folder.history,
        "student": folder.load_student,
        "best": best.load_student,
        "which": best.weights,
        "teacher": partial(student_without_weights, run),
        "compare": partial(both, teacher=True),
        "report": partial(write_report, folder, None),
        "train": partial(train, root / "run.toml", quiet),
        "evaluate best": partial(evaluate, run / "best", quiet),
        "evaluate": partial(evaluate, run, quiet),
    }


def refusals(run):
    """By reader, the line that each gives that refuses."""
    told = {}
    for who, read in readers(run).items():
        try:
            read()
        except DistillkitError as error:
            told[who] = str(error)
            assert "\n" not in told[who].strip(), f"{who}: {told[who]}"
    return told


def otherwise(content, seed):
    """JSON, or lines of it, with one value of another kind, or gone."""
    chance, lines = random.Random(seed), b"\n{" in content
    value = [json.loads(line) for line in content.splitlines()] if lines else json.loads(content)
    inner = list(_within(value))
    parent, key = chance.choice(inner)
    if isinstance(parent, dict) and chance.random() < 0.2:
        del parent[key]
    else:
        parent[key] = chance.choice(STRANGE)
    return "".join(f"{json.dumps(one)}\n" for one in (value if lines else [value])).encode()


def _within(value):
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(one, dict | list):
            yield from _within(one)


@pytest.mark.parametrize("file", FILES)
def test_whatever_was_changed_is_one_line_or_nothing(run, file):
    whole = (run / file).read_bytes()
    for seed in range(5):
        shutil.rmtree(run)
        shutil.copytree(run.parent / "kept", run)
        (run / file).write_bytes(mutated(whole, seed))
        refusals(run)
        if not file.endswith(".arrow"):
            (run / file).write_bytes(otherwise(whole, seed))
            refusals(run)


def test_what_nobody_changed_is_read(run):
    assert refusals(run) == {}


@pytest.mark.parametrize(
    ("file", "change", "who"),
    [
        ("recipe.json", lambda told: told["recipe"]["optim"].update(lr=1.0), {"compare", "train", "evaluate"}),
        ("student.json", lambda told: told.update(steps=told["steps"] + 1), {"facts", "compare", "report", "evaluate"}),
        ("best/best.json", lambda told: told.update(near=1.0), {"which", "evaluate best"}),
        ("evaluation.json", lambda told: told["results"]["near"]["student"].update(near=9.0), {"report"}),
        ("evaluation/near.json", lambda told: told["numbers"]["student"].update(near=9.0), {"compare"}),
    ],
)
def test_a_number_that_was_changed_is_nobodys(run, file, change, who):
    record = json.loads((run / file).read_bytes())
    change(record)
    (run / file).write_text(json.dumps(record))
    told = refusals(run)
    assert who <= told.keys(), told
    assert all(str(run / file) in told[one] and TOLD in told[one] for one in who), told


@pytest.mark.parametrize("file", RECORDS)
def test_who_deletes_the_checksum_changed_it_on_purpose(run, file):
    """So are runs of older versions, which have none."""
    (run / file).write_text(without_checksum(json.loads((run / file).read_bytes())))
    assert refusals(run) == {}


@pytest.mark.parametrize(
    ("file", "key", "who"),
    [
        ("student.json", "steps", "report"),
        ("metrics.jsonl", "images_per_second", "report"),
        ("metrics.jsonl", "step", "history"),
    ],
)
def test_what_an_older_record_lacks_is_told_by_its_file(run, file, key, who):
    lines = (run / file).read_text().splitlines() if file.endswith("l") else [(run / file).read_text()]
    told = [{name: one for name, one in json.loads(line).items() if name not in (key, SEAL)} for line in lines]
    (run / file).write_text("".join(f"{json.dumps(one)}\n" for one in told))
    line = refusals(run)[who]
    assert line.startswith(f"{run / file}: damaged (it has no '{key}'"), line


def test_rows_of_which_one_value_was_changed_are_nobodys(run):
    path = run / "evaluation/agreement.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    name = next(name for name in table.column_names if pa.types.is_floating(table[name].type))
    values = [value + (place == 3) for place, value in enumerate(table[name].to_pylist())]
    place = table.column_names.index(name)
    changed = table.set_column(place, name, pa.array(values, table[name].type))
    with path.open("wb") as file, pa.ipc.new_file(file, changed.schema) as arrow:
        arrow.write_table(changed)
    with pytest.raises(StoreError, match=r"not as it was written.*delete it, and distillkit evaluate makes it again$"):
        read_rows(path)
    assert set(refusals(run)) == {"compare", "report"}  # an evaluation measures them anew
    read_rows(path)


def test_objects_within_objects_and_lists_tell_what_they_lack():
    found = of_object({"a": {"b": 1}, "c": [{"d": 2}]}, StoreError)
    for value in (found, found["a"], found["c"][0]):
        with pytest.raises(StoreError, match="it has no 'x'"):
            value["x"]
    assert found == {"a": {"b": 1}, "c": [{"d": 2}]} and found.get("x") is None
