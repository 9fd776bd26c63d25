"""Every line of the package that asks for an fsync, found in its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import distillkit

PACKAGE = Path(distillkit.__file__).parent

# What is asked for another reason than that something stays. By file, because these lines are never recorded.
ELSEWHERE = {
    "engine/probe.py": "measures how fast the disk takes bytes",
    "store/bucket/cache.py": "a cache: what is missing or bent is fetched again, and is checked when it comes",
}


def sites() -> list[str]:
    """As `system/atomic.py:61`; `atomic.sync` itself is how to ask, its callers are the sites."""
    return [f"{path.relative_to(PACKAGE).as_posix()}:{line}" for path in _files() for line in sorted(set(_lines(path)))]


def _files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).as_posix() not in ELSEWHERE]


def _lines(path: Path) -> Iterator[int]:
    tree = ast.parse(path.read_text("utf-8"))
    own = {node for one in ast.walk(tree) if _is_sync(one) for node in ast.walk(one)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node not in own:
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name in ("sync", "fsync", "fdatasync"):
                yield node.lineno


def _is_sync(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "sync"
