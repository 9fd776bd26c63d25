"""Prompts in another order than the images' classes are told by everything that would use them, and right ones not."""

import json

import pytest

from distillkit.errors import RecipeError
from distillkit.extract import extract
from distillkit.recipe import TrainRecipe
from distillkit.training.class_order import class_orders
from tests.conftest import draw

EXTRACT = """
name = "toy"
out = "{folder}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{folder}/kinds", classes = true }}
fields = ["image"]
"""
PROMPTS = """
[[corpora]]
name = "{name}"
source = {{ kind = "class_prompts", file = "{folder}/{name}.txt", templates = ["a photo of a {{}}.", "the {{}}"] }}
fields = ["text"]
"""
NAMES = ["Sea_Lion", "cat", "wild cat"]
ORDERS = {"right": [0, 1, 2], "wrong": [2, 0, 1], "two": [1, 0, 2], "others": None}


@pytest.fixture(scope="module")
def stores(tmp_path_factory, teacher_folder):
    folder = tmp_path_factory.mktemp("order")
    for number, path in enumerate(sorted((draw(folder, 12) / "images").iterdir())):
        into = folder / "kinds" / NAMES[number % 3]
        into.mkdir(parents=True, exist_ok=True)
        path.rename(into / path.name)
    text = EXTRACT
    for name, order in ORDERS.items():
        words = ["Zalophus", "Felis catus", "Felis"] if order is None else [NAMES[n].replace("_", " ") for n in order]
        (folder / f"{name}.txt").write_text("".join(f"{word}\n" for word in words))
        text += PROMPTS.replace("{name}", name)
    (folder / "extract.toml").write_text(text.format(folder=folder, teacher=teacher_folder))
    extract(folder / "extract.toml", lambda line: None)
    return folder


def recipe(stores, prompts, **more):
    content = {
        "name": "toy",
        "out": str(stores / f"run_{prompts}"),
        "data": {"images": f"{stores}/images", "classes": f"{stores}/{prompts}", "batch_size": 4},
        "student": {"kind": "timm_image", "model": "mobilenetv3_small_050", "image_size": 32, "embed_dim": 32},
        "losses": [{"kind": "contrastive", "text": "teacher"}],
        "optim": {"epochs": 1.0},
        "evals": [{"kind": "zero_shot", "store": f"{stores}/images", "prompts": f"{stores}/{prompts}"}],
    }
    return content | more


def orders(*args, **more):
    return class_orders(TrainRecipe.model_validate(recipe(*args, **more)))


def test_only_names_that_are_found_at_another_number_tell(stores):
    table = json.loads((stores / "images/classes.json").read_text())
    assert sorted(table, key=table.get) == NAMES
    assert orders(stores, "right") == orders(stores, "others") == []
    for prompts, number in (("wrong", 3), ("two", 2)):
        (line,) = orders(stores, prompts)
        assert f"{prompts}: its prompts are in another order" in line and f": {number} classes of 3" in line
    assert "as 'sea lion', which is 0 there and 1 here" in orders(stores, "wrong")[0]


@pytest.mark.parametrize("sets", ["seen_unseen", "robustness"])
def test_every_pair_of_a_measure_is_looked_at(stores, sets):
    images, right, wrong = (f"{stores}/{name}" for name in ("images", "right", "wrong"))
    further = {"seen": images, "seen_prompts": wrong} if sets == "seen_unseen" else {}
    further |= {"shifted": {"x": {"store": images, "prompts": wrong}}} if sets == "robustness" else {}
    one = {"kind": sets, "store": images, "prompts": right} | further
    assert len(orders(stores, "right", evals=[one])) == 1


def test_a_file_of_names_that_numbers_images_is_refused(stores):
    one = recipe(stores, "wrong")["evals"][0] | {"classes": str(stores / "right.txt")}
    with pytest.raises(RecipeError, match=r"another order than the classes of .*right.txt: 3 classes of 3"):
        orders(stores, "right", evals=[one])
    assert orders(stores, "right", evals=[one | {"classes": str(stores / "wrong.txt")}]) == []


def test_check_training_and_evaluation_tell_it(stores, run_cli):
    def told(*words):
        code, out, err = run_cli(*words)
        assert code == 0, err
        return (out + err).count("its prompts are in another order than the classes of")

    def written(name):
        content = recipe(stores, name)
        tables = [f"{key} = {json.dumps(content[key])}" for key in ("name", "out")]
        for key in ("data", "student", "losses", "optim", "evals"):
            for one in content[key] if isinstance(content[key], list) else [content[key]]:
                tables.append(f"[[{key}]]" if isinstance(content[key], list) else f"[{key}]")
                tables += [f"{knob} = {json.dumps(value)}" for knob, value in one.items()]
        (stores / f"{name}.toml").write_text("\n".join(tables))
        return stores / f"{name}.toml"

    for name, lines in (("wrong", 1), ("right", 0)):
        file = written(name)
        assert told("recipe", "check", file) == told("train-student", file) == lines
        assert told("evaluate", stores / f"run_{name}") == lines
