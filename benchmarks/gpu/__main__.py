"""python -m benchmarks.gpu PART OUT [--toy]; `ended`, `summary` and `pages` keep and tell what was measured."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    what, *rest = sys.argv[1:]
    toy, rest = "--toy" in rest, [one for one in rest if one != "--toy"]
    if what == "pages":
        import_module("benchmarks.gpu.pages").write()
        return
    results, out = import_module("benchmarks.gpu.results"), Path(rest[0])
    if what == "ended":
        results.ended(out, rest[1], int(rest[2]), int(rest[3]))
    elif what == "summary":
        print(results.summary(out, toy))
    else:
        with _pretending(what, toy):
            import_module(f"benchmarks.gpu.{what}").run(out, toy)


def _pretending(what: str, toy: bool) -> Any:
    """Without a GPU the smoke is that of a pretend one: it goes the ways of a GPU, but for what only a real one has."""
    import torch  # how a part ended is told without it: it takes seconds to import, six times over

    if torch.cuda.is_available():
        return nullcontext()
    if not toy:
        raise SystemExit("PyTorch finds no GPU here; see nvidia-smi, or try --toy")
    if what != "smoke":
        return nullcontext()
    from tests.pretend import pretend_gpu

    return pretend_gpu()


main()
