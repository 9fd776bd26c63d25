"""Every line of the package that asks for an fsync, found in its source, and whether anybody would miss it."""

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


def sites() -> list[str]:
    """As `system/atomic.py:61`; `atomic.sync` and `keep_names` are how to ask, their callers are the sites."""
    return [f"{path.relative_to(PACKAGE).as_posix()}:{line}" for path in _files() for line in sorted(set(_lines(path)))]


def missed(site: str, recorded: Callable[[type], Recording]) -> None:
    """AssertionError unless some job loses something when the fsync of that line does nothing. One is enough; some show
    it only where they go on with what was interrupted.
    """
    every = sorted(map(recorded, JOBS), key=lambda recording: len(recording.events))
    assert any(recording.catches(site, seed=0) for recording in every if site in recording.sites) or any(
        recording.catches_interrupted(site) for recording in every
    ), f"the fsync of {site} does nothing for anybody"


def _files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).as_posix() not in ELSEWHERE]


def _lines(path: Path) -> Iterator[int]:
    tree = ast.parse(path.read_text("utf-8"))
    own = {node for one in ast.walk(tree) if _is_sync(one) for node in ast.walk(one)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node not in own:
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name in (*WAYS, "fsync", "fdatasync"):
                yield node.lineno


def _is_sync(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name in WAYS
