"""A loss of one's own that was edited: the run is the same one, and its user is told."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from distillkit.recipe.own_code import own_code
from distillkit.store.format.manifest import file_digest

LOSS = """
from torch import nn


class Near(nn.Module):
    needs = ("student.image", "teacher.image")

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = name, weight
        self.project = nn.Linear(widths.student["image"], widths.teacher["image"])

    def forward(self, batch, student):
        return (self.project(student.image.float()) - batch.teacher.image.float()).square().mean()
"""


@pytest.fixture
def edited(student, tmp_path, monkeypatch):
    """Writes the file of the loss that the recipe names, as an editor would between two commands."""
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "a_loss_of_mine.py"

    def edit(text):
        file.write_text(text)
        sys.modules.pop("a_loss_of_mine", None)
        importlib.invalidate_caches()

    edit(LOSS)
    before, _, after = student.recipe.read_text().partition("[[losses]]")
    after = after[after.index("[optim]") :]
    student.recipe.write_text(f'{before}[[losses]]\nkind = "a_loss_of_mine:Near"\n{after}')
    yield edit
    sys.modules.pop("a_loss_of_mine", None)


def test_a_finished_run_tells_that_its_loss_is_another_now(student, edited):
    code, err = student()
    assert code == 0 and "edited" not in err, err
    code, err = student()
    assert code == 0 and "already trained" in err and "edited" not in err, err
    edited(LOSS.replace(".mean()", ".mean() * 3"))
    code, err = student()
    assert code == 0 and "already trained" in err, err
    assert "the file of a_loss_of_mine:Near was edited since; to train with what it is now, add --overwrite" in err
    code, err = student(words=["--overwrite"])
    assert code == 0 and "edited" not in err, err
    assert "edited" not in student()[1]


def test_a_run_that_goes_on_tells_from_where(student, edited, killed):
    killed()
    edited(LOSS + "\n# another day\n")
    code, err = student("checkpoints.every_steps=2")
    assert code == 0 and "a_loss_of_mine:Near was edited since it was begun; the steps to come" in err, err


def test_only_classes_of_ones_own_have_a_file_that_is_watched():
    """In the file where the class stands, not in the package that hands it on."""
    recipe = {"losses": [{"kind": "affinity"}, {"kind": "json:JSONDecoder"}], "student": {"kind": "not.there:Any"}}
    assert own_code(recipe) == {"json:JSONDecoder": file_digest(Path(json.decoder.__file__)).sha256}
