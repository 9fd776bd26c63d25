"""A page in which the student runs: drop a picture, see classes; type words, search a folder. Nothing is sent away.

    index.html, page.css, *.js    the page, as distillkit/exports/_web has it
    page.json, classes.bin        what it tells of the student; a vector for each class, float32
    onnx/, preprocessor_config.json, tokenizer.json    as `--to onnx` writes them
    runtime/                      of onnxruntime-web: https://www.npmjs.com/package/onnxruntime-web

A plain server of files is enough: `python -m http.server`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from jaxtyping import Float

from distillkit.errors import ExportError
from distillkit.exports._described import Described, Opened
from distillkit.exports._files import write_json
from distillkit.exports._page import PAGE, RUNTIME, InPython, UnderNode
from distillkit.exports._tokens import FILE as TOKENIZER
from distillkit.exports.onnx import ENDINGS, Onnx
from distillkit.system.atomic import make_folder

_PLACES = ("", "dist", "package/dist", "onnxruntime-web/dist", "node_modules/onnxruntime-web/dist")
HOW = "npm pack onnxruntime-web && tar xzf onnxruntime-web-*.tgz, then --runtime-dir package"
_BERTS = "BertPreTokenizer"


class Web:
    """`runtime_dir`: the unpacked npm package onnxruntime-web, or a folder with node_modules."""

    precisions = ("fp32", "fp16", "int8")
    shows_classes = True
    language = "sh"

    def __init__(self, *, keep: str | None = None, runtime_dir: str | None = None):
        self.keep, self.runtime_dir, self._onnx = keep, runtime_dir, Onnx()

    def holds(self, student: Described) -> str | None:
        """An image tower, beside a text tower or vectors of classes; and the runtime has to be at hand."""
        if student.image is None:
            return "the page looks at pictures, and this student has no image tower"
        if student.text is None and student.classes is None:
            told = "it has no text tower and no classes are known; name a store of class prompts with --classes"
            cure = ', or put the teacher\'s texts beside it with "--text-tower teacher"'
            return told if student.cannot_be_beside(lambda one: None) else told + cure
        widths = {
            "classes": None if student.classes is None else student.classes.vectors.shape[1],
            "texts": None if student.text is None else student.text.width,
        }
        for what, width in widths.items():
            if width not in (None, student.image.width):
                return f"its images have {student.image.width} numbers, the vectors of its {what} {width}"
        if self.runtime_dir is None:
            return f"the page needs the runtime of onnxruntime-web: {HOW}"
        return None

    def write(
        self, student: Described, folder: Path, precision: str, calibration: Float[np.ndarray, "n 3 h w"] | None = None
    ) -> None:
        runtime = _runtime(Path(self.runtime_dir or "."))
        self._onnx.keep = self.keep
        self._onnx.write(student, folder, precision, calibration)
        if student.text is not None:
            _refuse_strange_tokenizer(folder)
        make_folder(folder / "runtime")
        for name in RUNTIME:
            shutil.copyfile(runtime / name, folder / "runtime" / name)
        for path in PAGE.iterdir():
            if path.suffix in (".html", ".css", ".js"):
                shutil.copyfile(path, folder / path.name)
        ending, classes = ENDINGS[precision], student.classes
        told = {
            "name": student.name,
            "vision": f"onnx/vision_model{ending}.onnx",
            "text": None if student.text is None else f"onnx/text_model{ending}.onnx",
            "context_length": None if student.text is None else student.text.context_length,
            "scale": student.scale,
            "runtime": _version(runtime),
            "classes": None if classes is None else classes.names,
        }
        write_json(folder / "page.json", told)
        if classes is not None:
            (folder / "classes.bin").write_bytes(classes.vectors.numpy().astype("<f4").tobytes())

    def blocks(self, precision: str) -> list[str]:
        """Of what was written last."""
        return self._onnx.blocks(precision)

    def open(self, folder: Path) -> Opened:
        """Under Node where there is one; else by the same graphs in Python, which is said."""
        node = shutil.which("node")
        return InPython(self._onnx.open(folder)) if node is None else UnderNode(folder, node)

    def lines(self, student: Described) -> str:
        return "python -m http.server --bind 127.0.0.1 8000    # then open http://localhost:8000\n"


def _runtime(place: Path) -> Path:
    """The folder of its files; ExportError where they are not."""
    found = next((place / part for part in _PLACES if (place / part / RUNTIME[0]).is_file()), None)
    if found is None:
        raise ExportError(f"--runtime-dir {place}: onnxruntime-web is not there; get it with {HOW}")
    for name in RUNTIME:
        if not (found / name).is_file():
            raise ExportError(f"--runtime-dir {place}: {found / name} is missing; take a newer onnxruntime-web: {HOW}")
    return found


def _version(runtime: Path) -> str:
    """Of the package that these files came in, as npm unpacks it; without its package.json, nobody knows."""
    told = runtime.parent / "package.json"
    return f"onnxruntime-web {json.loads(told.read_bytes())['version'] if told.is_file() else 'of unknown version'}"


def _refuse_strange_tokenizer(folder: Path) -> None:
    """ExportError unless tokens.js splits texts as this tokenizer does; where there is no Node, nobody asks it."""
    told = json.loads((folder / TOKENIZER).read_bytes())
    kind, words = told["model"]["type"], told.get("pre_tokenizer") or {}
    own = {"BPE": told["model"].get("end_of_word_suffix") == "</w>", "WordPiece": words.get("type") == _BERTS}
    if not own.get(kind):
        raise ExportError(
            "--to web: the page splits texts by CLIP's pairs of bytes and BERT's word pieces, and this text tower has "
            f"another tokenizer of kind {kind}; leave the texts out (--tower image, with --classes), or export it to "
            "onnx"
        )
