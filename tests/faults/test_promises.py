"""Every "must" of FORMAT.md, and all that a reader must refuse, is what an assertion of the models names."""

import ast
import re
from pathlib import Path

from distillkit import testing
from distillkit.store.format import layout
from distillkit.testing.bent import BENT

FORMAT = Path(layout.__file__).parents[1] / "FORMAT.md"
TESTS = Path(__file__).parents[1]
STORE = TESTS / "store"
NAMING = [
    *Path(testing.__file__).parent.glob("*.py"),
    *(STORE / name for name in ("test_old_versions.py", "writing/test_asleep.py", "bucket/test_remote.py")),
    TESTS / "mining/test_log.py",
]
# What cannot be asserted, and why.
NOT_ASSERTED = {
    "The words *must* and *must not* bind writers and readers.": "it says what the words mean",
    "The version is raised by whatever makes a reader of the version before": "it binds who writes the next version",
}


def one_line(text):
    return " ".join(text.split())


# What a bullet forbids besides its first clause; each is a promise of its own.
_CLAUSE = re.compile(
    r",? or (?=whose |in which |with |that )|, (?=whose (?:name|shape) |with |or, )|; (?=anything )| \((?=or )"
)


def units(page):
    """Sentences, and the clauses of what stands in lists."""
    text = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\n|\n(?=[*|#])", text):
        line = one_line(block)
        if line.startswith("* "):
            yield from (f"* {clause}" for clause in _CLAUSE.split(line.removeprefix("* ").strip(";. ")))
        else:
            yield from [line] if line.startswith("#") else re.split(r"(?<=\.) ", line)


def binding(page):
    refused = page.partition("## What a reader must refuse")[2]
    return [
        unit
        for unit in units(page)
        if not unit.startswith("#")
        and (re.search(r"\bmust\b", unit) or (unit.startswith("* ") and unit in list(units(refused))))
    ]


def text_of(node):
    return one_line(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def assigned(tree):
    """Name -> text, of what is assigned in a module or function."""
    return {
        target.id: text_of(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and text_of(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def calls(tree, name):
    """Of a function, whether it is called by itself or as a method: the arguments of each call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None)):
            yield node.args


def asserted_by(tree):
    """The first argument of every `must`; of a parameter, what it is called with; of a list's, all that it may be."""
    known = assigned(tree)
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        own, parameters = known | assigned(function), [one.arg for one in function.args.args if one.arg != "self"]
        for first, *_ in calls(function, "must"):
            if text_of(first):
                yield text_of(first)
            elif first.id in own:
                yield own[first.id]
            elif first.id in parameters:
                at = parameters.index(first.id)
                yield from (text_of(given[at]) or known[given[at].id] for given in calls(tree, function.name))
            else:
                assert first.id == "sentence" and "bent" in parameters, (function.name, first.id)
                yield from (sentence for sentence, _ in BENT)


def named():
    """Words of the page that the models assert."""
    return {quote for path in NAMING for quote in asserted_by(ast.parse(path.read_text("utf-8")))}


def test_every_assertion_quotes_the_page():
    page = one_line(FORMAT.read_text("utf-8"))
    assert len(named()) > 30 and [quote for quote in named() if quote not in page] == []


def test_a_text_that_no_assertion_names_is_no_promise():
    code = (
        'A = "first"\ndef f(x):\n    b = "second"\n    must(b, True)\n    must(x, 1)\n    "third"\nf(A)\nC = "fourth"'
    )
    assert list(asserted_by(ast.parse(code))) == ["second", "first"]


def test_the_page_binds_readers_and_writers():
    assert len(binding(FORMAT.read_text("utf-8"))) > 15
    assert binding(
        "One may. Others must not. All\nmust.\n\n## What a reader must refuse\n\n* a thing;\n* another.\n"
    ) == [
        "Others must not.",
        "All must.",
        "* a thing",
        "* another",
    ]


def within(quote, unit):
    return quote in unit or unit.removeprefix("* ") in quote


def test_every_must_is_named_by_an_assertion():
    quotes = named() | NOT_ASSERTED.keys()
    silent = [unit for unit in binding(FORMAT.read_text("utf-8")) if not any(within(quote, unit) for quote in quotes)]
    assert silent == []


def test_what_is_not_asserted_is_on_the_page():
    page = one_line(FORMAT.read_text("utf-8"))
    assert all(quote in page for quote in NOT_ASSERTED)
