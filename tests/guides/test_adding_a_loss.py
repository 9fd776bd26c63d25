"""docs/adding-a-loss.md, followed to the letter by somebody outside the package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
