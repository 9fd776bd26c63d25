"""Nobody is told "1 rows": what is counted in a message goes through wording.count, wherever the package counts it.

The nouns are those that the package itself counts, so a new one that goes through `count` once is asked for everywhere.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COUNTING = {"count", "counted", "several"}


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _COUNTING:
            yield node


def counted_nouns(nodes: Iterable[ast.AST]) -> set[str]:
    """The plurals that some `count(number, "noun")` makes, by their last word."""
    found = set()
    for call in _calls(nodes):
        words = [one.value for one in call.args[1:] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if words:
            found.add((words[1] if len(words) > 1 else f"{words[0]}s").split()[-1])
    return found


def _numbers_before_plurals(nodes: Iterable[ast.AST], nouns: set[str]) -> Iterator[tuple[int, str]]:
    """Line and text of each value of an f-string that stands before one of the nouns, with a word between at most."""
    for node in nodes:
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            if any(len(call.args) > 1 for call in _calls(ast.walk(value.value))):
                continue
            words = re.match(r"((?: [a-z]+){1,2})(?![a-z/])", str(after.value))
            if words and nouns.intersection(words[1].split()):
                yield value.lineno, ast.unparse(value.value) + words[1]


def _is_a_name(text: str) -> bool:
    """What stands before the noun is plainly no number, and the noun may be a verb: "NAME views"."""
    names = {"name", "who", "self.key", "one.table", "claim.text", "field", "path", "files[0]", "writer.shards"}
    return text.partition(" ")[0] in names or ".join(" in text


def wrong(trees: dict[str, ast.AST]) -> list[str]:
    nodes = {file: list(ast.walk(tree)) for file, tree in trees.items()}
    nouns = counted_nouns(chain.from_iterable(nodes.values()))
    return [
        f"{file}:{line}: {text}"
        for file, every in nodes.items()
        for line, text in _numbers_before_plurals(every, nouns)
        if not _is_a_name(text)
    ]


def test_every_number_before_a_plural_is_counted():
    files = sorted((ROOT / "distillkit").rglob("*.py"))
    assert wrong({str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in files}) == []


def in_templates(texts: dict[str, str]) -> list[str]:
    """Values of a page's template that stand before one of the pages' nouns, and before a mark of their end."""
    nouns = {f"{noun}s" for text in texts.values() for noun in re.findall(r'counted\("([a-z]+)"\)', text)}
    found = re.compile(r"\{\{([^{}]*)\}\} ([a-z]+)(?![a-z/])")
    return [
        f"{file}: {one[0]}"
        for file, text in texts.items()
        for one in found.finditer(text)
        if one[2] in nouns and "counted(" not in one[1]
    ]


def test_pages_count_as_messages_do():
    texts = {path.name: path.read_text("utf-8") for path in (ROOT / "distillkit").rglob("*.html")}
    texts |= {path.name: path.read_text("utf-8") for path in (ROOT / "distillkit/report").glob("*.md")}
    assert len(texts) > 5 and in_templates(texts) == []
    assert in_templates({"a": '{{ n | counted("row") }} here', "b": "{{ failed }} rows have none"}) != []


def test_one_that_is_not_is_found():
    right = 'say(f"{count(n, \'row\')} of it"); say(f"{rate:,.0f} rows/s"); say(f"{name} rows of it")'
    assert wrong({"a.py": ast.parse(right)}) == []
    for text in ('f"{n:,} rows of it"', 'f"{len(lost)} more rows"', 'f"{count(n)} rows"'):
        assert len(wrong({"a.py": ast.parse(right), "b.py": ast.parse(f"say({text})")})) == 1
