"""Every place of the package that asks for an fsync, found in its source, and whether anybody would miss it.

It is called by its function, not by its line, which is another one whenever something is written above it: what was
tried of it would look like never tried, and its figure would go.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import distillkit
from tests.faults.check import Recording
from tests.faults.jobs import JOBS
from tests.faults.recorder import WAYS

PACKAGE = Path(distillkit.__file__).parent

# What is asked for another reason than that something stays. By file, because these lines are never recorded.
ELSEWHERE = {
    "engine/probe.py": "measures how fast the disk takes bytes",
    "store/bucket/cache.py": "a cache: what is missing or bent is fetched again, and is checked when it comes",
}


def sites() -> dict[str, str]:
    """Name -> line, as `system/atomic.py atomic_file 1` -> `system/atomic.py:157`.

    `atomic.sync` and `keep_names` are how to ask, their callers are the sites.
    """
    return {
        f"{name} {function} {number}": f"{name}:{line}"
        for path in _files()
        for name, function, lines in _functions(path)
        for number, line in enumerate(lines, 1)
    }


def missed(name: str, recorded: Callable[[type], Recording]) -> None:
    """AssertionError unless some job loses something when that fsync does nothing. One is enough; some show it only
    where they go on with what was interrupted.
    """
    site = sites()[name]
    every = sorted(map(recorded, JOBS), key=lambda recording: len(recording.events))
    assert any(recording.catches(site, seed=0) for recording in every if site in recording.sites) or any(
        recording.catches_interrupted(site) for recording in every
    ), f"the fsync of {name} ({site}) does nothing for anybody"


def _files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).as_posix() not in ELSEWHERE]


def _functions(path: Path) -> Iterator[tuple[str, str, list[int]]]:
    """File, function and its lines that ask, in their order."""
    found: dict[str, set[int]] = {}

    def walk(node: ast.AST, within: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            within = f"{within}.{node.name}".lstrip(".")
        if _is_sync(node):
            return
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name in (*WAYS, "fsync", "fdatasync"):
                found.setdefault(within, set()).add(node.lineno)
        for child in ast.iter_child_nodes(node):
            walk(child, within)

    walk(ast.parse(path.read_text("utf-8")), "")
    for function, lines in found.items():
        yield path.relative_to(PACKAGE).as_posix(), function, sorted(lines)


def _is_sync(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name in WAYS
