"""Every recipe of pipelines/evals/ runs on corpora of the manifests' layouts, from extraction to numbers."""

import json
import re
from pathlib import Path

import pytest

from distillkit.corpora import manifests
from distillkit.evaluate import evaluate_teacher
from distillkit.evaluation.asked import name_of
from distillkit.extract import extract
from distillkit.recipe import EvalRecipe, ExtractRecipe, load
from tests.corpora.layouts import lay
from tests.evaluation.worlds import quiet

RECIPES = Path(__file__).parents[2] / "pipelines/evals"
SUITES = sorted(path.stem for path in RECIPES.glob("*.toml") if not path.stem.endswith("_extract"))
NEEDS = {"elevater_probe": "elevater"}  # whose stores it reads, too
CHEAP = {  # 80 prompts of 1,000 classes, and thousands of steps, are not what is tested
    "imagenet_extract": ['corpora.1.source={kind="class_prompts",file="openai_imagenet",templates=["a {}"]}'],
    "dense": [f"evals.{number}.{knob}" for number in (0, 1) for knob in ("steps=3", "side=16", "batch=4")],
}
SAMPLE = {  # of these a few; all of them with -m slow
    "elevater": ["cifar10", "hateful_memes", "voc2007"],
    "elevater_probe": [],
    "fine_grained": ["cub200", "food101", "voc2007"],
    "ood": ["ood_birds"],
}


def stores(component):
    """Every store that an eval of a recipe names, by its name alone."""
    return set(re.findall(r"stores/evals/(\w+)", json.dumps(component.model_dump(mode="json"))))


def run(suite, chosen, teacher):
    """Lay the corpora, extract, evaluate the teacher; returns its numbers by eval."""
    recipe = load(RECIPES / f"{suite}.toml", CHEAP.get(suite, []), kind=EvalRecipe)
    evals = [one for one in recipe.evals if chosen is None or name_of(one) in chosen]
    wanted = set().union(*map(stores, evals))
    made = None
    for name in filter(None, (NEEDS.get(suite), suite)):
        overrides = [f'teacher={{kind="openclip",model="local-dir:{teacher}"}}', *CHEAP.get(f"{name}_extract", [])]
        extraction = load(RECIPES / f"{name}_extract.toml", overrides, kind=ExtractRecipe)
        extraction = extraction.only([one.name for one in extraction.corpora if one.name in wanted])
        for corpus in sorted(set(re.findall(r"data/(\w+)", extraction.model_dump_json()))):
            if not (Path("data") / corpus).exists():
                lay(corpus, Path("data") / corpus)
        made = extract(extraction, quiet)[0]
    names = [] if chosen is None else chosen
    overrides = CHEAP.get(suite, [])
    found = evaluate_teacher(made, RECIPES / f"{suite}.toml", "numbers", quiet, names=names, overrides=overrides)
    results = json.loads(found.read_text())["results"]
    assert results.keys() == {name_of(one) for one in evals}
    return {name: numbers["teacher"] for name, numbers in results.items()}


@pytest.mark.parametrize("suite", [one for one in SUITES if SAMPLE.get(one, True)])
def test_runs_on_corpora_of_the_layout(suite, tmp_path, teacher_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(suite, run(suite, SAMPLE.get(suite), teacher_folder))


@pytest.mark.slow
@pytest.mark.parametrize("suite", sorted(SAMPLE))
def test_runs_on_corpora_of_their_whole_size(suite, tmp_path, teacher_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(suite, run(suite, None, teacher_folder))


def check(suite, found):
    """Each set has the number that its manifest says its paper reports."""
    for name, numbers in found.items():
        sets = ["imagenet_v2", "imagenet_r"] if suite == "imagenet" else [name.removesuffix(" probe")]
        for one in sets:
            measures = [
                measure for metric in manifests.load(one)["metrics"] for measure in numbers_of(metric["ours"], suite)
            ]
            assert any(f"{one} {measure}" in numbers or measure in numbers for measure in measures), (one, measures)
    if suite == "imagenet":  # asked among the classes that R has, whose names ImageNet's prompts have, too
        assert found["imagenet"]["imagenet_r classes"] == 3 and found["imagenet"]["classes"] > 900
        assert found["imagenet"]["imagenet_r classes top-1"] >= found["imagenet"]["top-1"]


def numbers_of(told, suite):
    """ "sgd_probe: top-1, R@k" to the names of numbers."""
    return [one.strip().replace("R@k", "R@1") for one in told.partition(": ")[2].split(",")]
