"""Every "must" of FORMAT.md, and all that a reader must refuse, is what an assertion of the models names."""

import ast
import re
from pathlib import Path

from distillkit import testing
from distillkit.store.format import layout

FORMAT = Path(layout.__file__).parents[1] / "FORMAT.md"
STORE = Path(__file__).parents[1] / "store"
NAMING = [
    *Path(testing.__file__).parent.glob("*.py"),
    *(STORE / name for name in ("test_old_versions.py", "writing/test_writer.py", "bucket/test_remote.py")),
]
# What cannot be asserted, and why.
NOT_ASSERTED = {
    "The words *must* and *must not* bind writers and readers.": "it says what the words mean",
    "By whatever makes a reader of the version before read a byte otherwise": "it binds who writes the next version",
}


def one_line(text):
    return " ".join(text.split())


def units(page):
    """Sentences, and whole items of lists."""
    text = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\n|\n(?=[*|#])", text):
        yield from [one_line(block)] if block.startswith(("* ", "#")) else re.split(r"(?<=\.) ", one_line(block))


def binding(page):
    refused = page.partition("## What a reader must refuse")[2]
    return [
        unit
        for unit in units(page)
        if not unit.startswith("#")
        and (re.search(r"\bmust\b", unit) or (unit.startswith("* ") and unit in map(one_line, units(refused))))
    ]


def named():
    """Words of the page that stand in the code of the models."""
    page = one_line(FORMAT.read_text("utf-8"))
    strings = [
        one_line(node.value)
        for path in NAMING
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return {string for string in strings if len(string) > 20 and string in page}


def test_the_page_binds_readers_and_writers():
    assert len(binding(FORMAT.read_text("utf-8"))) > 15
    assert binding(
        "One may. Others must not. All\nmust.\n\n## What a reader must refuse\n\n* a thing;\n* another.\n"
    ) == [
        "Others must not.",
        "All must.",
        "* a thing;",
        "* another.",
    ]


def test_every_must_is_named_by_an_assertion():
    quotes = named() | NOT_ASSERTED.keys()
    silent = [unit for unit in binding(FORMAT.read_text("utf-8")) if not any(quote in unit for quote in quotes)]
    assert silent == []


def test_what_is_not_asserted_is_on_the_page():
    page = one_line(FORMAT.read_text("utf-8"))
    assert all(quote in page for quote in NOT_ASSERTED)
