"""Which files of tests have one for a GPU, by reading them: to collect all of tests/ imports all of it, for minutes."""

from __future__ import annotations

import ast
from pathlib import Path

_MARK = "mark.gpu"


def files(root: Path) -> list[str]:
    """Those below root/tests that mark a test, or take what is marked from another of them or from a conftest.py."""
    found = {path: _File(root, path) for path in sorted((root / "tests").rglob("*.py"))}
    marked, before = set[str](), -1
    while len(marked) > before:  # what is marked goes from file to file, each time one further
        before = len(marked)
        for one in found.values():
            marked |= {f"{one.module}.{name}" for name in one.carried(marked)}
    homes = {_home(name) for name in marked}
    tests = (path for path, one in found.items() if one.module in homes and path.name.startswith("test_"))
    return [str(path.relative_to(root)) for path in tests]


class _File:
    """What a file imports, by its name here, and of each of its statements what it makes and what it mentions."""

    def __init__(self, root: Path, path: Path):
        rooms = path.relative_to(root).with_suffix("").parts
        self.module, tree = ".".join(rooms), ast.parse(path.read_text())
        self._homes = {self.module} | {".".join([*rooms[:depth], "conftest"]) for depth in range(1, len(rooms))}
        self._imports = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        self._statements = [(_made(statement), _mentioned(statement)) for statement in tree.body]

    def carried(self, marked: set[str]) -> set[str]:
        """Its names, of lists, decorators, fixtures and tests, that carry the mark, where `marked` of all files do."""
        taken = {here for here, whole in self._imports.items() if whole in marked}
        known = taken | {_MARK} | {_name(one) for one in marked if _home(one) in self._homes}
        known |= {
            f"{here}.{_name(one)}" for here, whole in self._imports.items() for one in marked if _home(one) == whole
        }
        return taken.union(*(made for made, mentioned in self._statements if mentioned & known))


def _home(name: str) -> str:
    return name.rpartition(".")[0]


def _name(name: str) -> str:
    return name.rpartition(".")[2]


def _made(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return {statement.name}
    return {one.id for one in ast.walk(statement) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _mentioned(statement: ast.stmt) -> set[str]:
    """Names, arguments (of fixtures), and attributes as "mark.gpu"."""
    found = set[str]()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Attribute):
            value = node.value
            owner = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
            found.add(f"{owner}.{node.attr}")
    return found
