"""Nobody is told "1 rows": what is counted in a message goes through wording.count, wherever the package counts it.

The nouns are those that the package itself counts, so a new one that goes through `count` once is asked for everywhere.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COUNTING = {"count", "counted", "several"}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _COUNTING:
            yield node


def counted_nouns(trees: dict[str, ast.AST]) -> set[str]:
    """The plurals that some `count(number, "noun")` makes, by their last word."""
    found = set()
    for tree in trees.values():
        for call in _calls(tree):
            words = [one.value for one in call.args[1:] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if words:
                found.add((words[1] if len(words) > 1 else f"{words[0]}s").split()[-1])
    return found


def _numbers_before_plurals(tree: ast.AST, nouns: set[str]) -> Iterator[tuple[int, str]]:
    """Line and text of each value of an f-string that stands before one of the nouns, with a word between at most."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            if next(_calls(value.value), None) is not None and len(next(_calls(value.value)).args) > 1:
                continue
            words = re.match(r"((?: [a-z]+){1,2})(?![a-z/])", str(after.value))
            if words and nouns.intersection(words[1].split()):
                yield value.lineno, ast.unparse(value.value) + words[1]


def _is_a_name(text: str) -> bool:
    """What stands before the noun is plainly no number: a name, a list of names, an attribute that is text."""
    value = text.partition(" ")[0]
    return value in {"name", "who", "self.key", "one.table", "claim.text", "field"} or ".join(" in text


def wrong(trees: dict[str, ast.AST]) -> list[str]:
    nouns = counted_nouns(trees)
    return [
        f"{file}:{line}: {text}"
        for file, tree in trees.items()
        for line, text in _numbers_before_plurals(tree, nouns)
        if not _is_a_name(text)
    ]


def test_every_number_before_a_plural_is_counted():
    files = sorted((ROOT / "distillkit").rglob("*.py"))
    assert wrong({str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in files}) == []


def test_one_that_is_not_is_found():
    right = 'say(f"{count(n, \'row\')} of it"); say(f"{rate:,.0f} rows/s"); say(f"{name} rows of it")'
    assert wrong({"a.py": ast.parse(right)}) == []
    for text in ('f"{n:,} rows of it"', 'f"{len(lost)} more rows"', 'f"{count(n)} rows"'):
        assert len(wrong({"a.py": ast.parse(right), "b.py": ast.parse(f"say({text})")})) == 1
