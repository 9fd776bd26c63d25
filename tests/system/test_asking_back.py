"""No message goes on behind "did you mean ...?" as if nothing had been asked: what follows is a sentence of its own."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from distillkit.errors import SourceError, TeacherError, TrainError
from distillkit.runfolder import RunFolder
from distillkit.sources._places import file_at, folder_at
from distillkit.system.paths import or_else
from distillkit.teachers._hub import refuse_a_path

ROOT = Path(__file__).parents[2]
_ASKING = "did you mean"


def _asks(expression: ast.AST, asking: set[str]) -> bool:
    """Whether it may end by asking: a text that does, or a name or function that gives one."""
    nodes = list(ast.walk(expression))
    return any(isinstance(one, ast.Name) and one.id in asking for one in nodes) or any(
        isinstance(one, ast.Constant) and _ASKING in str(one.value) for one in nodes
    )


def _names(function: ast.AST, asking: set[str]) -> set[str]:
    """Those of a function that are given such a text."""
    found = set(asking)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign) and _asks(node.value, found):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _askers(tree: ast.AST) -> set[str]:
    """Functions of a file that return such a text, by those that write it themselves."""
    return {
        function.name
        for function in _functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and node.value is not None and _asks(node.value, set())
    }


def _asking_here(tree: ast.AST, by_module: dict[str, set[str]]) -> set[str]:
    """Its own such functions, and those that it imports."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    taken = {name.name for one in imports for name in one.names if name.name in by_module.get(one.module or "", ())}
    return _askers(tree) | taken


def wrong(trees: dict[str, ast.AST]) -> list[str]:
    by_module = {file.removesuffix(".py").replace("/", "."): _askers(tree) for file, tree in trees.items()}
    found = []
    for file, tree in trees.items():
        texts = [one for one in ast.walk(tree) if isinstance(one, ast.Constant) and "?;" in str(one.value)]
        found += [f"{file}:{one.lineno}: {one.value}" for one in texts]
        for function in _functions(tree):
            names = _names(function, _asking_here(tree, by_module))
            found += [f"{file}:{line}: {text}" for line, text in _going_on(function, names)]
    return found


def _going_on(function: ast.AST, asking: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(function):
        values = node.values if isinstance(node, ast.JoinedStr) else []
        for value, after in pairwise(values):
            follows = isinstance(after, ast.Constant) and str(after.value).startswith(";")
            if follows and isinstance(value, ast.FormattedValue) and _asks(value.value, asking):
                yield value.lineno, ast.unparse(node)


def test_nothing_but_a_sentence_follows_a_question():
    files = sorted((ROOT / "distillkit").rglob("*.py"))
    assert wrong({str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in files}) == []


@pytest.mark.parametrize(
    "line",
    [
        'f"no {name}, did you mean {name}?; mend it"',
        'f"no {name}{meant(name)}; mend it"',
        'f"no {name}{printable(meant(name))}; mend it"',
        'f"no {near}; mend it"',
    ],
)
def test_one_that_goes_on_is_found(line):
    meant = 'def meant(name):\n    return f", did you mean {name}?"\n'
    text = f"from a import meant\n\n\ndef refuse(name):\n    near = meant(name)\n    say({line})\n"

    def told(text):
        return wrong({"a.py": ast.parse(meant), "b.py": ast.parse(text)})

    assert told(text) != [] and told(text.replace("?; ", "? Or ").replace("}; ", "}: ")) == []


def test_the_cure_stands_behind_the_question(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/texts.txt").write_text("a\n")
    for error, opening, cure in (
        (SourceError, lambda: folder_at(f"{tmp_path}/picturez"), "pictures? Or mend that path (in a recipe: "),
        (SourceError, lambda: file_at(f"{tmp_path}/pictures/text.txt"), "texts.txt? Or mend source.file in the recipe"),
        (TeacherError, lambda: refuse_a_path(f"{tmp_path}/picturez"), "pictures? Or write local-dir:FOLDER of one"),
        (TrainError, lambda: RunFolder(tmp_path / "picturez").recipe(), "pictures? Or make one with: distillkit train"),
    ):
        with pytest.raises(error) as told:
            opening()
        assert cure in str(told.value)
    assert or_else("no x", "or say y") == "no x; or say y" and or_else("no x?", "or say y") == "no x? Or say y"
