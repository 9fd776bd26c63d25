"""A module of ours in a process of its own, with its number of threads set before any library starts them.

FAISS and torch bring an OpenMP each. A process that forked after either had started threads may hang in the other
(https://github.com/facebookresearch/faiss/issues/5206); one that begins empty, and never forks, cannot.
The request goes in as a line of JSON; lines of JSON come back: {"say"}, {"error", "kind"}, {"done"}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from distillkit import errors
from distillkit.callable import Say, silent
from distillkit.recipe import MineRecipe
from distillkit.store.writing.claims import Part
from distillkit.system.environment import whole_number
from distillkit.system.workers import cores, end_by_signals, unheard


def mine_apart(recipe: MineRecipe, say: Say = silent, command: str | None = None, part: Part | None = None) -> Path:
    """`distillkit.mine.mine_here` in a process of its own; returns the folder of the addition."""
    threads = recipe.threads or whole_number("OMP_NUM_THREADS", cores(), least=1)
    request = {"recipe": recipe.model_dump(), "command": command, "part": str(part or Part()), "threads": threads}
    return Path(run_apart("distillkit.mine", request, threads, say))


def run_apart(module: str, request: dict[str, Any], threads: int, say: Say) -> Any:
    """What `asked(request, say)` of that module returns. Its DistillkitErrors are raised here."""
    count = str(threads)
    environment = os.environ | {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with unheard():
        begun = subprocess.Popen([sys.executable, "-m", __name__, module], **pipes)
    with begun as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                told = json.loads(line)
                if "say" in told:
                    say(told["say"])
                elif "error" in told:
                    raise getattr(errors, told["kind"])(told["error"])
                else:
                    return told["done"]
        finally:
            process.kill()
    raise errors.DistillkitError(f"{module} ended without an answer (exit code {process.returncode}); see above")


def answer(module: str) -> None:
    """The other side: read the request, do the work, answer. Ends at once when whoever asked is gone."""
    end_by_signals()
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    try:
        work = import_module(module).asked
        _tell({"done": work(request, lambda message: _tell({"say": message}))})
    except errors.MissingExtra as error:
        _tell({"error": str(error), "kind": "DistillkitError"})
    except errors.DistillkitError as error:
        _tell({"error": str(error), "kind": type(error).__name__})
    except OSError as error:
        _tell({"error": errors.refused(error), "kind": "DistillkitError"})


def _tell(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201


def _end_with_the_asker() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    answer(sys.argv[1])
