"""The page about scale says what the command prints, and names commands that exist."""

import re
import subprocess
import sys
from pathlib import Path

from distillkit.engine.scaling import table

PAGE = Path(__file__).parents[2] / "docs/scaling.md"


def test_the_table_of_the_page_is_what_the_command_prints():
    (command,) = re.findall(r"python -m distillkit.engine.scaling .*", PAGE.read_text())
    done = subprocess.run([sys.executable, *command.split()[1:]], capture_output=True, text=True, check=True)
    assert done.stdout in PAGE.read_text() and done.stdout.count("\n") == 5


def test_the_arithmetic():
    """1,000 images at 10 a second and no texts: 100 s on one GPU, 5 decoding cores of 2 a second, an hour costs 36."""
    assert table(1000, 0, 10, 36.0, 2)[2] == "| 1 | 0:01:40 | 1.54 MB | 5 | 1 |"
    assert table(64_000, 0, 10, 36.0, 2)[4] == "| 64 | 0:01:40 | 98.3 MB | 320 | 64 |"


def test_its_commands_name_recipes_and_options_that_exist(run_cli):
    commands = re.findall(r"`distillkit (extract-teacher [^`]*)`", PAGE.read_text())
    options = {word for command in commands for word in command.split() if word.startswith("--")}
    assert options == {"--plan", "--engine", "--shard", "--set"}
    told = run_cli("extract-teacher", "--help")[1]
    assert all(option in told for option in options)
    recipes = {word for command in commands for word in command.split() if word.endswith(".toml")}
    assert recipes and all((PAGE.parents[1] / recipe).is_file() for recipe in recipes)
