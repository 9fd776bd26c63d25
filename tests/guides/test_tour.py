"""docs/tour.ipynb from top to bottom: over a toy world by default, as a newcomer has it where minutes do not matter."""

import json
import shutil
import time
from pathlib import Path

import pytest

import distillkit
from tests.conftest import draw

ROOT = Path(__file__).parents[2]
BOOK = json.loads((ROOT / "docs/tour.ipynb").read_text())
CODE = ["".join(cell["source"]) for cell in BOOK["cells"] if cell["cell_type"] == "code"]

# What the tour's recipes and its demo are, small enough for seconds.
EXTRACT = """
name = "demo_quick"
out = "stores/demo_quick"
[teacher]
kind = "openclip"
model = "local-dir:{teacher}"
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{demo}/seen.tsv" }}
fields = ["image", "text"]
[[corpora]]
name = "texts"
source = {{ kind = "textlines", file = "{demo}/texts.txt" }}
fields = ["text"]
"""
TRAIN = """
name = "dime_fm_quick"
[data]
images = "stores/demo_quick/images"
texts = "stores/demo_quick/texts"
batch_size = 16
[student]
kind = "timm_image"
model = "mobilenetv3_small_050"
image_size = 32
embed_dim = 32
[[losses]]
kind = "affinity"
[optim]
epochs = 1
[[evals]]
kind = "retrieval"
store = "stores/demo_quick/images"
"""


@pytest.fixture
def small(tmp_path, teacher_folder, monkeypatch):
    """The current folder, where the tour's recipes and pictures are small ones."""
    demo = draw(tmp_path / "demo", 76)
    table = (demo / "pairs.tsv").read_text()
    for name in ("seen", "validation", "unseen"):
        (demo / f"{name}.tsv").write_text(table)
    shutil.copytree(demo / "images", demo / "restyled")

    def copied(name):
        assert name == "extract/demo_quick"
        for path, text in (("extract/demo_quick", EXTRACT), ("demo/dime_fm_quick", TRAIN)):
            place = Path(f"pipelines/{path}.toml")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text.format(teacher=teacher_folder, demo=demo))
            yield place

    monkeypatch.setattr(distillkit, "copy_recipe", lambda name: list(copied(name)), raising=False)
    monkeypatch.setattr(distillkit, "prepare_demo", lambda quick, say: demo, raising=False)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_cell_runs_in_its_order(small, capsys):
    pytest.importorskip("IPython")
    names = {}
    for cell in CODE:
        exec(cell, names)
    assert (small / "tour/runs/dime_fm_quick/report.html").is_file() and (small / "tour/found.html").is_file()
    out = capsys.readouterr().out
    assert "76 pictures in " in out and "pipelines/extract/demo_quick.toml" in out
    assert names["found"].among == 76 and tuple((names["pictures"] @ names["texts"].T).shape) == (3, 3)


def test_what_ran_is_not_kept_in_it():
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in BOOK["cells"])


def test_the_recipes_that_it_copies_are_those_that_it_runs(tmp_path):
    """The small ones of these tests stand in for real ones."""
    made = {path.relative_to(tmp_path).as_posix() for path in distillkit.copy_recipe("extract/demo_quick", tmp_path)}
    assert made == {"extract/demo_quick.toml", "demo/dime_fm_quick.toml"}


_LONGEST = 300  # seconds


@pytest.mark.slow
def test_the_whole_tour_on_the_quick_demo(tmp_path):
    """In a kernel of its own, with the real teacher and its pictures; within the five minutes of somebody who looks."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    book = nbformat.read(ROOT / "docs/tour.ipynb", as_version=4)
    began = time.monotonic()
    nbclient.NotebookClient(book, timeout=_LONGEST, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert time.monotonic() - began < _LONGEST
    shown = [str(out.get("data", {}).get("text/html", "")) for cell in book.cells for out in cell.get("outputs", [])]
    assert sum(html.count("data:image/png;base64,") for html in shown) == 16 + 8 + 8 + 8 + 8
