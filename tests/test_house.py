"""The picture of the house in docs/architecture.md is the house: every room and every door, on its floor."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "distillkit"
_TEXT = (ROOT / "docs/architecture.md").read_text("utf-8")
PICTURE = next(block for block in re.findall(r"```\n(.*?)```", _TEXT, re.DOTALL) if block.startswith("distillkit/"))


def drawn():
    """Path below the package -> floor, counted from the top; what stands deeper than that belongs to its room."""
    found, floor, room = {}, 0, ""
    for line in PICTURE.splitlines()[1:]:
        if not line.strip():
            floor += 1
            continue
        name = line.split()[0].rstrip("/")
        deeper = line.startswith(" " * 8)
        room = room if deeper else name
        found[f"{room}/{name}" if deeper else name] = floor
    return found


def test_every_room_and_every_door_is_drawn_and_no_other():
    rooms = {str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.glob("**/__init__.py")} - {"."}
    doors = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert set(drawn()) == rooms | doors


def test_floors_are_those_that_imports_go_down():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [{name.strip().removeprefix("distillkit.") for name in one.split("|")} for one in contract["layers"]]
    floors: dict[int, set[str]] = {}
    for name, floor in drawn().items():
        if "/" not in name:
            floors.setdefault(floor, set()).add(name.removesuffix(".py"))
    assert [floors[floor] for floor in sorted(floors)] == layers


def test_floors_of_the_store_are_drawn_as_they_import():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][1]
    drawn_floors = [name.removeprefix("store/") for name in drawn() if name.startswith("store/")]
    assert drawn_floors == contract["layers"]


def test_files_to_open_are_there():
    table = _TEXT[_TEXT.index("## Which file to open") : _TEXT.index("## Decisions")]
    paths = re.findall(r"`([\w/]+(?:\.py|/))`", table)
    assert len(paths) > 40
    assert [path for path in paths if path != "distillkit/" and not (PACKAGE / path).exists()] == []


def test_text_of_files_is_read_and_written_in_one_encoding():
    """Else it is in the user's own, which need not have its characters, or has others in their place."""
    lines = [(path, line) for path in PACKAGE.rglob("*.py") for line in path.read_text("utf-8").splitlines()]
    plain = re.compile(r"""\.read_text\(\)|\.write_text\((?!.*("utf-8"|encoding=))""")
    assert [(path.name, line.strip()) for path, line in lines if plain.search(line)] == []


def test_nothing_is_left_of_a_merge():
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *PACKAGE.rglob("*.*"),
        *(ROOT / "pipelines").rglob("*.*"),
    ]
    texts = {path: path.read_text("utf-8") for path in pages if path.suffix in (".md", ".py", ".toml", ".js", ".html")}
    assert len(texts) > 500
    marks = re.compile(r"^(<{7}|>{7}|[|]{7})( |$)|^={7}$", re.MULTILINE)
    assert [str(path) for path, text in texts.items() if marks.search(text)] == []


def test_every_name_is_defined():
    """Axes of arrays are words in annotations, so neither linter nor type checker may ask for all names; we do."""
    asked = ["ruff", "check", "--isolated", "--select", "F821", "--output-format", "json", "--exit-zero"]
    ran = subprocess.run(
        [sys.executable, "-m", *asked, "distillkit", "tests", "benchmarks"], cwd=ROOT, capture_output=True, check=True
    )
    names = [re.search("`(.+)`", one["message"])[1] for one in json.loads(ran.stdout)]
    assert len(names) > 100 and {name for name in names if len(name) > 1} <= {"rows"}
