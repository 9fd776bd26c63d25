"""Names that nothing defines, which ruff is not asked for because shapes of tensors look like them."""

import json
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]


def undefined(folder: Path) -> list[str]:
    """FILE:LINE of every undefined name that is not a word of a string, as jaxtyping's shapes are."""
    asked = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format", "json"]
    told = subprocess.run([*asked, str(folder)], capture_output=True, text=True, check=False)
    found = []
    for one in json.loads(told.stdout):
        at = (one["location"]["row"], one["location"]["column"] - 1)
        with Path(one["filename"]).open("rb") as file:
            strings = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.STRING]
        if not any(token.start <= at < token.end for token in strings):
            found.append(f"{one['filename']}:{at[0]}: {one['message']}")
    return found


def test_every_name_is_defined():
    assert undefined(ROOT / "distillkit") + undefined(ROOT / "tests") == []


def test_a_name_that_is_not_is_found(tmp_path):
    (tmp_path / "shapes.py").write_text('def look(x: Float[Tensor, "b d"]) -> None:\n    raise Absent\n')
    assert sorted(line.rpartition("`")[0].rpartition("`")[2] for line in undefined(tmp_path)) == [
        *("Absent", "Float", "Tensor"),
    ]
