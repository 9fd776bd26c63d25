"""The commands of docs/export.md are run as written, on a small pair; its table names every target."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from distillkit.recipe import Component
from distillkit.recipe.registry import kinds, resolve
from tests.exports.conftest import pictures  # noqa: F401
from tests.exports.world import STUDENTS, finish

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/export.md").read_text()
COMMANDS = re.search(r"```sh\n(.*?)```", GUIDE, re.DOTALL)[1].splitlines()


@pytest.mark.slow
def test_the_commands_do_what_the_guide_says(pictures, tmp_path, run_cli, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    finish(tmp_path / "runs/clip_kd", pictures, STUDENTS["pair"])
    for line in COMMANDS:
        code, out, err = run_cli(*shlex.split(line)[1:])
        assert code == 0 and "worst cosine" in err, err
        assert (tmp_path / out.strip() / "README.md").is_file()
    assert (tmp_path / "exported/image-fp16/onnx/vision_model_fp16.onnx").is_file()


def test_every_target_is_in_the_table_with_its_precisions():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", GUIDE, re.MULTILINE))
    assert {kind: tuple(told.split(", ")) for kind, told in rows.items()} == {
        kind: resolve("exports", kind)().precisions for kind in kinds("exports")
    }


def test_its_recipe_is_one():
    table = tomllib.loads(re.search(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[1])["teacher"]
    Component(**table).check("teachers", "teacher")
