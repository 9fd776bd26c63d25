"""A baseline can be opened again from what is kept of it: its recipe is valid, whatever the run's says of texts."""

import json

import pytest

from distillkit.errors import RecipeError
from distillkit.identity import identity
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder

RECIPE = {
    "name": "toy",
    "student": {"kind": "timm_image", "model": "resnet18", "image_size": 32},
    "data": {"images": "stores/images", "batch_size": 4},
    "losses": [{"kind": "feature_regression", "field": "image"}],
    "optim": {"epochs": 1.0},
    "baseline": {"losses": [{"kind": "feature_regression", "field": "image"}]},
}
PROXIMAL = {"texts": "stores/texts", "sampling": "proximal", "neighbours_k": 4, "text_batch_size": 8}


def recipe(data, **baseline):
    both = {"data": RECIPE["data"] | data, "baseline": RECIPE["baseline"] | baseline}
    return TrainRecipe.model_validate(RECIPE | both)


@pytest.mark.parametrize(
    ("data", "baseline"),
    [
        (PROXIMAL, {}),
        (PROXIMAL | {"sampling": "neighbours"}, {"captions": "paired"}),
        (PROXIMAL | {"sampling": "neighbours"}, {"images": "stores/others"}),
        ({"labels": True}, {"captions": "unique"}),
        ({"images": None, "mix": [{"images": "a"}], "texts": "stores/texts"}, {"captions": "paired"}),
    ],
)
def test_a_derived_baseline_is_a_valid_recipe(data, baseline):
    derived = recipe(data, **baseline).of_baseline()
    assert TrainRecipe.model_validate(derived.model_dump(mode="json")) == derived
    assert (derived.data.texts, derived.data.sampling) == (None, "uniform")


@pytest.mark.parametrize(
    ("data", "baseline", "told"),
    [
        ({"images": None, "mix": [{"images": "a"}]}, {"captions": "unique"}, "merged captions are of one store"),
        ({"images": None, "texts": "stores/texts"}, {}, "name an image store"),
    ],
)
def test_one_that_cannot_be_is_refused_before_it_is_trained(data, baseline, told):
    with pytest.raises(RecipeError, match=f"^baseline: .*{told}"):
        recipe(data, **baseline).of_baseline()


@pytest.mark.parametrize(
    "wrong", [{"sampling": "proximal"}, {"sampling": "neighbours"}, {"labels": True, "captions": "paired"}]
)
def test_a_baseline_that_was_trained_before_opens_and_is_the_same_run(tmp_path, wrong):
    derived = recipe(PROXIMAL, captions=wrong.get("captions", "none")).of_baseline()
    kept = derived.model_dump(mode="json")
    kept["data"] |= wrong
    folder = tmp_path / "baseline"
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps({"identity": {"recipe": kept, "stores": {}}, "recipe": kept}))
    (folder / "student.json").write_text("{}")
    run = RunFolder(folder)
    assert run.recipe() == derived and run.begun_with() == identity(derived, {})
