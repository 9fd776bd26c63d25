"""Toy stores of images with classes, their prompts and captions, and runs that were trained on them in no time."""

import json
import shutil
from dataclasses import replace

from distillkit.evaluation.rows import is_rows, read_rows, write_rows
from distillkit.recipe import ExtractRecipe, load
from tests.conftest import TRAIN, WORDS, draw

EXTRACT = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["image", "text"]
[[corpora]]
name = "texts"
source = {{ kind = "textlines", file = "{corpus}/texts.txt" }}
fields = ["text"]
[[corpora]]
name = "classed"
source = {{ kind = "folder", root = "{corpus}/classed", classes = true }}
fields = ["image"]
[[corpora]]
name = "prompts"
source = {{ kind = "class_prompts", file = "{corpus}/names.txt", templates = ["a {{}}", "one {{}}"] }}
fields = ["text"]
"""
MORE = """
name = "more"
[[evals]]
kind = "zero_shot"
store = "{out}/classed"
prompts = "{out}/prompts"
[[evals]]
kind = "knn"
store = "{out}/classed"
train = "{out}/classed"
k = 3
[[evals]]
kind = "agreement"
store = "{out}/classed"
prompts = "{out}/prompts"
k = 3
"""


def quiet(line):
    pass


def make_world(folder, teacher):
    """folder/out with stores, folder/train.toml, folder/more.toml; 40 captioned images, 24 of three classes."""
    from distillkit import extract

    corpus = draw(folder / "corpus", 40)
    for number, image in enumerate(sorted((draw(folder / "drawn", 24, seed=1) / "images").iterdir())):
        place = corpus / "classed" / WORDS[number % 3] / image.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(image, place)
    (corpus / "names.txt").write_text("".join(f"{word}\n" for word in sorted(WORDS[:3])))
    places = {"out": folder / "out", "corpus": corpus, "teacher": teacher}
    (folder / "extract.toml").write_text(EXTRACT.format(**places))
    (folder / "train.toml").write_text(TRAIN.format(**places).replace("epochs = 6", "epochs = 3"))
    (folder / "more.toml").write_text(MORE.format(**places))
    extract(load(folder / "extract.toml", kind=ExtractRecipe), quiet)
    return folder


def train_run(world, name, *overrides):
    """A run in world/NAME, as world/train.toml says but for `overrides`."""
    from distillkit import train

    train(world / "train.toml", quiet, overrides=[f'out="{world / name}"', *overrides])
    return world / name


def results(run):
    return json.loads((run / "evaluation.json").read_text())


def asked_otherwise(run, slug, change):
    """Every table that a run kept of an eval, with what it was made of as `change` makes it."""
    for path in sorted((run / "evaluation").glob(f"{slug}*.arrow")):
        if is_rows(path):
            rows = read_rows(path)
            write_rows(path, replace(rows, made_of=change(rows.made_of)))
