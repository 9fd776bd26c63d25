"""How pages tell that an extra is installed: distillkit is in no package registry, a clone is what people have."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.*"))]


def test_pages_install_extras_from_the_clone():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = [
        one for page in PAGES if page.is_file() for one in re.findall(r'"\.\[([\w,-]+)\]"', page.read_text("utf-8"))
    ]
    assert len(found) > 8 and {one for told in found for one in told.split(",")} <= set(extras)
    wrong = [page.name for page in PAGES if re.search(r'"distillkit\[|install distillkit', page.read_text("utf-8"))]
    assert wrong == []


def test_nothing_links_to_a_project_that_is_not_there():
    files = [*PAGES, *(ROOT / "distillkit").rglob("*.py"), *(ROOT / "distillkit").rglob("*.html")]
    assert [file.name for file in files if "pypi.org/project/distillkit" in file.read_text("utf-8")] == []
