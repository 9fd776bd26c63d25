"""Every training recipe we ship trains: 50 steps at toy sizes over one toy store, and its loss falls."""

import json
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from distillkit.extract import extract
from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.train import train
from tests.conftest import TEACHER, draw, make_teacher

PIPELINES = Path(__file__).parents[2] / "pipelines"
# A quick sibling is the same method (test_recipes.py).
RECIPES = sorted({*PIPELINES.glob("*.toml"), *PIPELINES.glob("demo/*.toml")} - {*PIPELINES.glob("demo/*_quick.toml")})

EXTRACT = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["image", "text", "cls", "patches"]
views = {{ count = 2, flip = 0.5 }}
[[corpora]]
name = "texts"
source = {{ kind = "textlines", file = "{corpus}/texts.txt" }}
fields = ["text"]
[[corpora]]
name = "classes"
source = {{ kind = "class_prompts", file = "{corpus}/names.txt", templates = ["a photo of {{}}"] }}
fields = ["text"]
"""
SMALL_PAIR = TEACHER | {"vision_cfg": TEACHER["vision_cfg"] | {"width": 32}}
SMALL_VIT = {"embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.fixture(scope="module")
def world(tmp_path_factory, teacher_folder):
    """Folders of the toy stores and of the corpus behind them, and another teacher, to inherit from: of a copy of their
    own teacher the loss could not fall."""
    folder = tmp_path_factory.mktemp("world")
    corpus = draw(folder / "corpus", 64)
    titles = {line.split("\t")[0] for line in (corpus / "pairs.tsv").read_text().splitlines()[1:]}
    (corpus / "names.txt").write_text("".join(f"{title}\n" for title in sorted(titles)))
    recipe = folder / "extract.toml"
    recipe.write_text(EXTRACT.format(out=folder / "stores", teacher=teacher_folder, corpus=corpus))
    list(extract(load(recipe, kind=ExtractRecipe), lambda line: None))
    other = make_teacher(folder / "other", seed=1)
    trunk = folder / "resnet18.safetensors"
    save_file(timm.create_model("resnet18", num_classes=0).state_dict(), trunk)
    names = {"teacher": f"local-dir:{other}", "trunk": f"resnet18/{trunk}"}
    return {"stores": folder / "stores", "corpus": corpus, **names}


def shrunk(path, world, out):
    """The recipe over the toy store, with a student of toy size. Methods, terms, weights and schedules are its own."""
    recipe = load(path, kind=TrainRecipe)
    data, student = recipe.data, recipe.student
    stores = {name: world["stores"] / name for name in ("images", "texts", "classes") if getattr(data, name)}
    settings = {
        **{f"data.{name}": str(place) for name, place in stores.items()},
        "data.batch_size": 16,
        "data.workers": 1,
        "data.repeats": 1,
        "data.pixel_cache": 32,
        "optim.epochs": 12.5,
        "optim.lr": 2e-3,
        "optim.warmup_epochs": 1.0,
        "log.every_steps": 5,
        "out": str(out),
        "evals": [],
    }
    if data.texts:
        settings["data.text_batch_size"] = 32
    if data.classes:
        settings["data.class_names"] = str(world["corpus"] / "names.txt")
    if data.mix:
        new = {"images": str(world["stores"] / "images")} | ({"shots": 2} if data.mix[-1].shots else {})
        settings |= {"data.mix": [{"images": new["images"]}, new], "optim.epochs": 6.25}
    if student.kind == "prompted":
        image = {"image_size": 32, "embed_dim": 32}
        settings |= {"student.model": TEACHER, "student.inherit": world["teacher"], "student.context": 2}
        settings |= {f"student.image.{name}": value for name, value in image.items()}
    elif student.kind == "timm_image":
        settings["student.image_size"] = 28 if "14" in student.knobs["model"] else 32
        if student.knobs.get("inherit"):  # an earlier run, which is not there
            settings["student.inherit"] = world["trunk"]
        if student.knobs.get("embed_dim"):
            settings["student.embed_dim"] = 32
        if "vit" in student.knobs["model"].lower():
            settings["student.options"] = SMALL_VIT
    else:
        # A slim student is as large as what it inherits from, a pair is a part of it.
        settings["student.model"] = TEACHER if student.kind == "openclip_slim" else SMALL_PAIR
        if student.knobs.get("inherit"):
            settings["student.inherit"] = world["teacher"]
    # What the toy teacher says of two texts is nearly the same: at its own scale there is nothing to learn.
    own = [number for number, term in enumerate(recipe.losses) if term.knobs.get("logit_scale") == "teacher"]
    settings |= {f"losses.{number}.logit_scale": 50.0 for number in own}
    return load(path, [f"{key}={toml(value)}" for key, value in settings.items()], kind=TrainRecipe).model_copy(
        update={"baseline": None}
    )


def toml(value):
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(PIPELINES).with_suffix("")))
def test_the_loss_falls(path, world, tmp_path):
    run = train(shrunk(path, world, tmp_path / "run"), lambda line: None)
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert history[-1]["step"] == 50
    # The price of too many parameters rises with its target, and with its multipliers; that is its point.
    paid = [line["total"] - line.get("sparsity", 0.0) for line in history]
    assert paid[-1] < 0.97 * paid[0]
