"""Finished runs of the toy world without training: what an untrained student says serves these tests as well."""

import pytest
import torch

from distillkit.identity import identity
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore

STUDENTS = {
    "image": {"kind": "timm_image", "model": "mobilenetv3_small_050", "image_size": 32, "embed_dim": 32},
    "own space": {"kind": "timm_image", "model": "mobilenetv3_small_050", "image_size": 32},
    "text": {
        "kind": "openclip_text",
        "model": {
            "embed_dim": 32,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
            "text_cfg": {"context_length": 16, "width": 32, "heads": 2, "layers": 1},
        },
    },
}
STUDENTS["pair"] = STUDENTS["text"] | {"kind": "openclip_pair"}


def make_run(folder, student, stores, **teacher):
    """A run folder as training leaves it; `teacher` changes what it remembers of its teacher."""
    torch.manual_seed(0)
    recipe = TrainRecipe.model_validate(
        {
            "name": folder.name,
            "data": {"images": str(stores / "images"), "texts": str(stores / "texts"), "batch_size": 8},
            "student": student,
            "losses": [{"kind": "affinity"}],
            "optim": {"epochs": 1.0},
        }
    )
    run, record = RunFolder(folder), FeatureStore(stores / "images").teacher("image")
    run.begin(recipe, identity(recipe, {}))
    facts = {"parameters": 1, "steps": 5, "images_seen": 40, "seconds": 1.0, "stores": {}, "teacher": record | teacher}
    run.finish(recipe.student.build("students"), facts)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toy_stores):
    """Run folders by the names of STUDENTS."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: make_run(folder / name.replace(" ", "-"), student, toy_stores / "out")
        for name, student in STUDENTS.items()
    }


@pytest.fixture
def photos(toy_stores, tmp_path, monkeypatch):
    """A folder of one's own with 12 pictures, and a cache of the test's own."""
    import shutil

    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    for number, path in enumerate(sorted((toy_stores / "corpus/images").glob("*.png"))[:12]):
        place = folder / ("sea" if number < 6 else "hills") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return folder
