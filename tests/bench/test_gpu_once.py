"""The script for the ten minutes with a card does not rot: whole in small, and its parts' book-keeping."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import limits, marked, mining, pages, results, smoke, steps, teachers
from benchmarks.gpu.results import Part
from distillkit.teachers import _frozen
from tests.conftest import GPU_FILES
from tests.pretend import pretend_gpu

ROOT = Path(__file__).parents[2]


def test_rows_are_kept_as_they_come_and_one_that_was_cut_off_keeps_what_it_had(tmp_path):
    part = Part(tmp_path, "limits")
    part.add("fast enough", 0.61, goal=0.6)
    part.add("too slow", 0.59, goal=0.6)
    results.ended(tmp_path, "limits", 124, 20)
    told = json.loads((tmp_path / "limits.json").read_text())
    assert told["ended"] == "out of time" and [row["met"] for row in told["rows"]] == [True, False]
    assert results.value_of(tmp_path, "limits", "too slow") == 0.59
    results.ended(tmp_path, "mining", 1, 3)
    page = results.summary(tmp_path, toy=True)
    assert "limits: out of time, 20 s" in page and "NO  too slow: 0.59 (goal 0.6)" in page
    assert "mining: failed, see mining.log, 3 s" in page and "smoke: not begun" in page


def test_limits_and_mining_in_small(tmp_path):
    limits.run(tmp_path, toy=True)
    mining.run(tmp_path, toy=True)
    rows = {
        row["name"]: row
        for part in ("limits", "mining")
        for row in json.loads((tmp_path / f"{part}.json").read_text())["rows"]
    }
    assert all(row["value"] > 0 for row in rows.values()) and len(rows) == 9


def test_what_is_measured_takes_the_ways_of_a_gpu(tmp_path, nvjpeg):
    """Streams, pinned batches, both decoders: in small, on a pretend GPU, whose images another decoder makes."""
    with pretend_gpu() as ledger:
        for part in (limits, teachers, steps, mining):
            part.run(tmp_path, toy=True)
    assert ledger.copies > 20 and sum(nvjpeg) == 16
    told = {
        part: json.loads((tmp_path / f"{part}.json").read_text()) for part in ("limits", "teachers", "steps", "mining")
    }
    assert all(part["ended"] == "whole" and part["rows"] for part in told.values())
    names = {row["name"] for part in told.values() for row in part["rows"]}
    assert {name for part, name, _ in pages.ROWS if "compiled" not in name} <= names
    assert "cached, the share of a step that waits for its batch" in names
    for network in ("ViT-L/14", "DINOv2-L"):
        for way in ("eager", "eager, in the largest batch"):
            assert {f"{network}, {way}", f"{network}, {way} / products of matrices"} <= names


def test_operations_of_a_dino_are_those_that_torch_counts():
    """At 518 px timm's page of it says 507.1 GMACs; torch counts every product."""
    network = timm.create_model("vit_large_patch14_dinov2", img_size=518, num_classes=0, device="meta").eval()
    counted = teachers.dino_operations(SimpleNamespace(model=network))
    assert counted / 2e9 == pytest.approx(507.1, rel=1e-3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.forward_features(torch.empty(1, 3, 518, 518, device="meta"))
    assert counted == counter.get_total_flops()


class Card:
    """A teacher whose memory ends behind a batch, and that has a time for each image."""

    device, preprocess = torch.device("cpu"), SimpleNamespace(size=(1, 1))

    def __init__(self, room, clock, each=0.0):
        self.room, self.clock, self.each, self.asked = room, clock, each, []

    def forward(self, pixels, fields):
        self.asked.append(len(pixels))
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.clock[0] += self.each * len(pixels)


@pytest.mark.parametrize(
    ("room", "each", "found", "told"),
    [
        (3000, 1e-4, 2048, "for 4096 the memory did not suffice"),
        (1 << 20, 1e-4, 8192, "no more than 8192 were tried"),
        (1 << 20, 0.01, 2048, "the time of this part ended"),
        (100, 1e-4, None, "not found: for 512 the memory did not suffice"),
    ],
)
def test_a_batch_doubles_until_memory_or_time_ends(tmp_path, monkeypatch, room, each, found, told):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    part, card = Part(tmp_path, "teachers"), Card(room, clock, each)
    teachers.largest(part, "it", card, 1e9, 1.0, (512, 8192))
    assert part.rows[0].value == found and part.rows[0].told == told
    assert clock[0] < 110, "of 120 seconds"
    assert max(card.asked) <= 8192
    assert [row.value for row in part.rows[1:]] == (
        [pytest.approx(1 / each), pytest.approx(1e-3 / each)] if found else []
    )


def test_the_hard_goal_is_told_beside_the_other(tmp_path):
    part = Part(tmp_path, "teachers")
    for share in (0.65, 0.71):
        teachers.share_of_products(part, "it, compiled", share, wanted=True)
    results.ended(tmp_path, "teachers", 0, 9)
    lines = [line for line in results.summary(tmp_path, toy=True).splitlines() if "products" in line]
    assert lines == [
        "* ok  it, compiled / products of matrices: 0.65 (goal 0.6) hard goal 0.7: not reached",
        "* ok  it, compiled / products of matrices: 0.71 (goal 0.6) hard goal 0.7: reached",
    ]


def test_a_network_is_compiled_for_as_long_as_it_is_measured(monkeypatch):
    monkeypatch.setattr(_frozen, "compiled", lambda function: function)
    tower = torch.nn.Linear(1, 1)
    with teachers._compiled(SimpleNamespace(model=SimpleNamespace(visual=tower))):
        assert "forward" in vars(tower)
    assert "forward" not in vars(tower)


def test_every_file_with_a_test_for_a_gpu_is_named(pytestconfig):
    """Those that this run of pytest has collected: all of them, where it is asked for all tests."""
    named = set(marked.files(ROOT))
    assert {"tests/test_gpu.py", "tests/pixels/test_cuts.py", "tests/pixels/test_operations.py"} <= named
    assert {str(path.relative_to(ROOT)) for path in pytestconfig.stash[GPU_FILES]} <= named


def test_the_mark_is_followed_from_file_to_file(tmp_path):
    mark = "import pytest\nGPU = pytest.param('cuda', marks=pytest.mark.gpu)\n"
    wrote = {
        "test_own.py": f"{mark}@pytest.mark.parametrize('d', [GPU])\ndef test(d): ...\ndef helped(): ...\n",
        "test_taken.py": "from tests.test_own import GPU as card\nBOTH = ['cpu', card]\n",
        "test_further.py": "from tests.test_taken import BOTH\n",
        "test_by_attribute.py": "from tests import test_own as own\nHERE = [own.GPU]\n",
        "test_whole.py": "import pytest\npytestmark = pytest.mark.gpu\n",
        "test_other.py": "from tests.test_own import helped\ndef test(card): ...\n",
        "room/conftest.py": f"{mark}@pytest.fixture(params=[GPU])\ndef card(): ...\n",
        "room/test_fixture.py": "def test(card): ...\n",
        "room/test_none.py": "def test(tmp_path): ...\n",
    }
    for name, text in wrote.items():
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    wanted = {"own", "taken", "further", "by_attribute", "whole", "fixture"}
    assert {Path(one).stem.removeprefix("test_") for one in marked.files(tmp_path)} == wanted


def test_pages_tell_what_was_measured_and_that_nothing_was(tmp_path):
    for path in pages.PAGES:
        assert pages.written(path.read_text()) == path.read_text(), "run: python -m benchmarks.gpu pages"
    assert "not measured" in pages.table(tmp_path)
    row = {"name": "cached / live", "value": 12.5}
    card = {"machine": {"gpu": "A Card"}, "parts": {"steps": {"rows": [row]}}}
    (tmp_path / "a-card.json").write_text(json.dumps(card))
    assert "| | A Card |" in pages.table(tmp_path) and "goal 10 | 12.5 |" in pages.table(tmp_path)


def script(out, parts, **environment):
    """Runs it; what each part told."""
    command = [str(ROOT / "benchmarks/gpu_once.sh"), str(out), "--toy"]
    environment = os.environ | {"PYTHON": sys.executable, "PARTS": " ".join(parts)} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = {part: json.loads((out / f"{part}.json").read_text()) for part in parts}
    for part, one in told.items():
        assert one["ended"] == "whole" and one["rows"], (out / f"{part}.log").read_text()
    assert "toy sizes" in (out / "summary.md").read_text()
    return told


@pytest.mark.long
def test_the_script_runs_without_faiss_but_for_the_check_that_needs_it(tmp_path):
    hidden = tmp_path / "faiss.py"
    hidden.write_text("raise ModuleNotFoundError(\"No module named 'faiss'\", name='faiss')")
    told = script(tmp_path / "out", ["smoke"], PYTHONPATH=str(tmp_path))
    assert [row["name"] for row in told["smoke"]["rows"] if not row["met"]] == ["mining"]
    assert "faiss is not installed" in told["smoke"]["rows"][-1]["told"] and len(told["smoke"]["rows"]) == 7
    assert not (tmp_path / "out/steps.json").exists(), "not asked for"


def test_smoke_knows_whether_nvjpeg_decoded_and_mines(tmp_path, nvjpeg):
    with pretend_gpu():
        world = smoke.World(tmp_path, toy=True)
        assert smoke._mined(world) == "100.0% of the neighbours are the CPU's"
        assert smoke._decoded(world) == "0.00 grey levels from libjpeg"
        nvjpeg.clear()
        told = smoke._nvjpeg_run(world)
        assert sum(nvjpeg) >= 40 and told == f"trained on images of which nvjpeg decoded {sum(nvjpeg)} of {sum(nvjpeg)}"
        (tmp_path / "nvjpeg").rename(tmp_path / "before")
        for image in (tmp_path / "corpus/images").iterdir():
            Image.open(image).save(image, "PNG")
        assert smoke._nvjpeg_run(world) == "NO, trained on images of which nvjpeg decoded 0 of 0"


@pytest.mark.slow
def test_the_whole_script_runs_in_small(tmp_path):
    """Every part; of the smoke what a pretend GPU can do."""
    told = script(tmp_path, results.PARTS)
    assert all(row["met"] for row in told["smoke"]["rows"]), told
