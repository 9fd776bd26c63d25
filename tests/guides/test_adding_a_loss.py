"""docs/adding-a-loss.md, followed to the letter by somebody outside the package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.losses import test_contract as contract

TEXT = (Path(__file__).parents[2] / "docs/adding-a-loss.md").read_text()


@pytest.mark.long
def test_a_stranger_adds_a_loss(recipes, run_cli, tmp_path):
    for name, code in re.findall(r"```python (\S+)\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my_losses"]
    subprocess.run(test, cwd=tmp_path, env=environment, check=True, capture_output=True)

    (table,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    recipe = recipes[1].read_text()
    assert "[optim]" in recipe
    recipes[1].write_text(recipe.replace("[optim]", f"{table}\n[optim]"))
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    train = [sys.executable, "-c", "from distillkit.cli import main; main()", "train-student", str(recipes[1])]
    done = subprocess.run(train, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"Margin"' in (tmp_path / "out/run/metrics.jsonl").read_text()

    recipes[1].write_text(recipe.replace("[optim]", f"{table.replace('margin = 0.1', 'margn = 0.1')}\n[optim]"))
    done = subprocess.run(train, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "unknown key 'margn', did you mean 'margin'?" in done.stderr


def test_its_loss_keeps_what_every_loss_promises(tmp_path, monkeypatch):
    """As the page says of a file inside the package; the students of real runs compute in bf16."""
    for name, code in re.findall(r"```python (\S+)\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for promise in (
        contract.test_is_a_finite_scalar_that_trains_its_student_and_its_heads,
        contract.test_needs_are_enough_and_all_needed,
        contract.test_half_precision_features_give_a_float32_loss,
    ):
        promise("my_losses.margin:Margin", {})
    for name in ("my_losses.margin", "my_losses"):
        sys.modules.pop(name, None)
