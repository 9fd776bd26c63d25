"""A page that is asked without a browser: under Node, by its own code and runtime; without Node, its graphs alone."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float

from distillkit.errors import ExportError
from distillkit.exports._described import Opened, Pictures

PAGE = Path(__file__).parent / "_web"  # what every page is made of
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")  # of onnxruntime-web


class InPython:
    """The graphs of a page, as they are asked in Python. `told`: what the gate says of who was asked."""

    told = "asked: the graphs, by onnxruntime in Python; there is no Node here to ask the page's own JavaScript"

    def __init__(self, graphs: Opened):
        self._graphs = graphs

    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        return self._graphs.images(pictures)

    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        return self._graphs.texts(texts)


class UnderNode:
    """The page's own resizing, tokenizer and runtime, in a process of `node`."""

    def __init__(self, folder: Path, node: str):
        self._folder, self._node = folder.absolute(), node
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
        runtime = json.loads((folder / "page.json").read_bytes())["runtime"]
        self.told = f"asked: the page's own JavaScript and {runtime}, under Node {version}"

    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        def tell(pipe: IO[bytes]) -> None:
            for place in range(len(pictures)):
                picture = pictures[place].convert("RGB")
                pipe.write(np.array(picture.size, "<u4").tobytes() + picture.tobytes())

        return self._ask("images", tell, len(pictures))

    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        def tell(pipe: IO[bytes]) -> None:
            pipe.write(json.dumps(texts).encode())

        return self._ask("texts", tell, len(texts))

    def _ask(self, what: str, tell: Callable[[IO[bytes]], None], count: int) -> Float[np.ndarray, "n d"]:
        """ExportError where the page does not run. Pictures are streamed, so they need not fit in memory."""
        with tempfile.TemporaryDirectory() as place, (Path(place) / "errors").open("w+b") as errors:
            said = Path(place) / "said"
            command = [self._node, str(PAGE / "ask.mjs"), str(self._folder), what, str(said)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors) as asked:
                assert asked.stdin is not None
                with suppress(BrokenPipeError):  # it ended, and says why
                    tell(asked.stdin)
                    asked.stdin.close()
            if asked.returncode:
                errors.seek(0)
                lines = [line for line in errors.read().decode("utf-8", "replace").splitlines() if "Error" in line]
                raise ExportError(
                    f"the page does not run under Node: {(lines or ['it says nothing'])[0].strip()[:300]}"
                )
            return np.fromfile(said, "<f4").reshape(count, -1)
