"""The commands of docs/mining.md are run as written, in a world where its recipes are small."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distillkit.drafting.goals import GOALS
from distillkit.recipe import MineRecipe, SelectRecipe
from distillkit.store.reading.reader import FeatureStore

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/mining.md").read_text()


@pytest.mark.long
def test_the_commands_do_what_the_guide_says(recipes, tmp_path):
    copies = {
        "pipelines/extract/demo_quick.toml": recipes[0].read_text().replace(f"{tmp_path}/out", "stores/demo_quick"),
        "pipelines/mine/demo_quick.toml": (ROOT / "pipelines/mine/demo_quick.toml").read_text(),
        # Cosines of a teacher with random weights mean nothing.
        "pipelines/select/demo_quick.toml": (ROOT / "pipelines/select/demo_quick.toml")
        .read_text()
        .replace("min_cosine = 0.3", "min_cosine = -0.9"),
        "pipelines/demo/dime_fm_quick.toml": recipes[1]
        .read_text()
        .replace(f"{tmp_path}/out/run", "runs/dime_fm_quick")
        .replace(f"{tmp_path}/out", "stores/demo_quick"),
    }
    for place, text in copies.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    block = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    assert len(block) == 1
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    said = []
    first, *lines = block[0].replace("text_batch_size=512", "text_batch_size=16").splitlines()
    assert first == "distillkit data prepare demo --quick"  # minutes; the README's main job runs it
    for line in lines:
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said.append(done.stderr)
    assert "recall@64: 1, the search is exact" in said[1] and "texts kept" in said[2]
    assert (tmp_path / "neighbours.html").read_text().count("<article") == 50
    images, kept = (FeatureStore(tmp_path / f"stores/demo_quick/{name}") for name in ("images", "grounded"))
    assert images.field("neighbours/ids").shape == [64] and 16 <= len(kept.ok_rows) < 160


def test_its_goals_are_goals():
    assert set(re.findall(r"(?:--goal |goal `)([\w-]+)", GUIDE)) == {"image-tower", "clip-pair"} <= GOALS.keys()


def test_its_recipes_are_recipes():
    mining, selection = (block for block in re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL))
    import tomllib

    assert MineRecipe(**tomllib.loads(mining)).index == "auto"
    assert SelectRecipe(**tomllib.loads(selection)).k == 16


def test_bytes_of_a_row_are_those_that_memory_is_planned_with():
    from distillkit.mining.index import row_bytes
    from tests.mining.test_mine import KINDS

    for kind in KINDS:
        assert f"{8 + row_bytes(kind, 768):,.0f} |" in next(
            line for line in GUIDE.splitlines() if f"| `{kind}` |" in line
        )
