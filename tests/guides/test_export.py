"""The commands of docs/export.md are run as written, on a small pair; its table names every target."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from distillkit.exports.web import HOW
from distillkit.parity.gate import LEAST
from distillkit.recipe import Component
from distillkit.recipe.registry import kinds, resolve
from tests.exports.conftest import pictures  # noqa: F401
from tests.exports.table import RESULT, in_guide
from tests.exports.test_web import NPM
from tests.exports.world import STUDENTS, finish

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/export.md").read_text()
BLOCKS = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)]
EXPORTS, PAGE, SPEED, PUSHES = BLOCKS


@pytest.mark.slow
def test_the_commands_do_what_the_guide_says(pictures, tmp_path, run_cli, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    finish(tmp_path / "runs/clip_kd", pictures, STUDENTS["pair"])
    for line in EXPORTS:
        code, out, err = run_cli(*shlex.split(line)[1:])
        assert code == 0 and "worst cosine" in err, err
        assert (tmp_path / out.strip() / "README.md").is_file()
    assert (tmp_path / "exported/image-fp16/onnx/vision_model_fp16.onnx").is_file()
    (speed,) = SPEED
    code, out, err = run_cli(*shlex.split(speed)[1:])
    assert code == 0 and out.count("| runs/clip_kd |") == 4, err
    (tmp_path / "stores/demo").mkdir(parents=True)
    (tmp_path / "stores/demo/images").symlink_to(pictures / "images")
    for line in PUSHES:
        code, out, err = run_cli(*shlex.split(line)[1:])
        assert code == 0 and "README.md" in err and "bytes in" in err, err


@pytest.mark.slow
@pytest.mark.skipif(NPM is None, reason="needs ONNXRUNTIME_WEB: make test-web")
def test_the_page_is_made_as_the_guide_says(pictures, tmp_path, run_cli, monkeypatch):  # noqa: F811
    runtime = Path(NPM).absolute()
    monkeypatch.chdir(tmp_path)
    finish(tmp_path / "runs/clip_kd", pictures, STUDENTS["pair"])
    (tmp_path / "package").symlink_to(runtime)
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores/demo").symlink_to(pictures)
    fetched, made, served = PAGE
    assert fetched == HOW.partition(", then")[0] and served.split()[1] == "runs/clip_kd/exports/web"
    code, _, err = run_cli(*shlex.split(made)[1:])
    assert code == 0 and (tmp_path / served.split()[1] / "index.html").is_file(), err


def test_every_target_is_in_the_table_with_its_precisions():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", GUIDE, re.MULTILINE))
    assert {kind: tuple(told.split(", ")) for kind, told in rows.items()} == {
        kind: resolve("exports", kind)().precisions for kind in kinds("exports")
    }


def test_its_table_of_parity_is_what_was_measured():
    measured = json.loads(RESULT.read_bytes())["rows"]
    assert in_guide(GUIDE, measured) == GUIDE, "python -m tests.exports writes it"
    held = [row for row in measured if "refused" not in row]
    assert held and {row["to"] for row in measured} <= set(kinds("exports"))
    for row in held:
        assert min(row["worst"].values()) >= LEAST[row["precision"]], row
        if row["precision"] == "fp32":
            assert row["after"] == pytest.approx(row["before"], abs=0.3), row  # two pictures of 720, where answers tie


def test_its_recipe_is_one():
    table = tomllib.loads(re.search(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[1])["teacher"]
    Component(**table).check("teachers", "teacher")
