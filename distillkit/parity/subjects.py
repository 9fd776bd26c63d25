"""Networks as they are asked for their speed: a teacher, a student in torch, a student's graphs in onnxruntime."""

from __future__ import annotations

import inspect
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from distillkit.errors import ExportError
from distillkit.exports._describe import describe
from distillkit.exports._graphs import refuse_without_converters
from distillkit.exports.onnx import Onnx
from distillkit.recipe import Component
from distillkit.recipe.registry import resolve
from distillkit.runfolder import RunFolder

RUNTIMES = ("torch", "onnx", "onnx-fp16", "onnx-int8")
_WORDS = "a photo of a small brown dog that runs over a field of grass"
Ask = Callable[[], object]


@dataclass(frozen=True)
class Subject:
    """`ask(tower, count)`: what asks that tower of so many pictures or texts at once. `file_bytes`: of its weights."""

    who: str
    runtime: str
    towers: tuple[str, ...]
    ask: Callable[[str, int], Ask]
    file_bytes: int
    is_teacher: bool = False


def student_in_torch(run: Path) -> Subject:
    student = RunFolder(run).load_student()
    towers = tuple(tower for tower in ("image", "text") if tower in student.widths and _stands(student, tower))

    def ask(tower: str, count: int) -> Ask:
        if tower == "image":
            shown = torch.zeros(count, 3, student.image_size, student.image_size, dtype=torch.uint8)
            return lambda: student.embed(shown)
        read = student.tokenize([_WORDS] * count)
        return lambda: student.embed_text(read)

    return Subject(str(run), "torch", towers, _in_inference(ask), (run / "student.safetensors").stat().st_size)


def _stands(student: Any, tower: str) -> bool:
    return hasattr(student, {"image": "embed", "text": "embed_text"}[tower])


def write_graphs(run: Path, runtime: str, folder: Path) -> None:
    """The run's graphs in `folder`; how fast they are does not depend on what int8 is calibrated with."""
    refuse_without_converters()
    recipe = RunFolder(run).recipe()
    student = describe(recipe.name, RunFolder(run).load_student(), recipe.student)
    if not student.towers:
        raise ExportError(f"{run}: has no tower that stands for itself; measure it with --runtime torch")
    precision = runtime.partition("-")[2] or "fp32"
    side = 0 if student.image is None else student.image.shown.size
    drawn = np.random.default_rng(0).normal(size=(8, 3, side, side)).astype(np.float32)
    Onnx().write(student, folder, precision, drawn if side else None)


def student_in_onnx(run: Path, runtime: str, folder: Path, threads: int) -> Subject:
    """By the graphs that `write_graphs` left in `folder`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    files = {"image": "vision", "text": "text"}
    graphs = {tower: next((folder / "onnx").glob(f"{name}_model*"), None) for tower, name in files.items()}
    known = {tower: path for tower, path in graphs.items() if path is not None}
    sessions = {
        tower: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for tower, path in known.items()
    }

    def ask(tower: str, count: int) -> Ask:
        session = sessions[tower]
        (reads,) = session.get_inputs()
        shape = (count, *reads.shape[1:])
        given = np.zeros(shape, np.float32) if tower == "image" else np.ones(shape, np.int64)
        return lambda: session.run(None, {reads.name: given})

    size = sum(path.stat().st_size for path in known.values())
    return Subject(str(run), runtime, tuple(known), ask, size)


def teacher_in_torch(run: Path) -> Subject:
    """The teacher that the run remembers; errors of its kind where it cannot be had."""
    record = RunFolder(run).facts()["teacher"]
    kind = record.get("kind")
    if kind in ("imported", "mined", None):
        raise ExportError(f"{run}: its teacher was imported, so there is no network to ask")
    known = {"run": record.get("model"), "device": "cpu"} | record
    parameters = inspect.signature(resolve("teachers", kind)).parameters
    network: Any = Component(kind=kind, **{name: known[name] for name in parameters if name in known}).build("teachers")
    towers = tuple(tower for tower in ("image", "text") if tower in network.fields)

    def ask(tower: str, count: int) -> Ask:
        if tower == "image":
            shown = network.preprocess(Image.new("RGB", (64, 64)))
            pixels = torch.stack([shown] * count)
            return lambda: network.forward(pixels=pixels, fields=["image"])
        tokens, _ = network.tokenize([_WORDS] * count)
        return lambda: network.forward(tokens=tokens, fields=["text"])

    size = sum(value.numel() * value.element_size() for value in network.model.state_dict().values())
    return Subject("teacher", "torch", towers, _in_inference(ask), size, is_teacher=True)


def _in_inference(ask: Callable[[str, int], Ask]) -> Callable[[str, int], Ask]:
    """Without what training would keep of each answer."""

    def asked(tower: str, count: int) -> Ask:
        inner = ask(tower, count)

        def run() -> object:
            with torch.inference_mode():
                return inner()

        return run

    return asked


def subject_of(run: Path, runtime: str, folder: Path | None, threads: int) -> Subject:
    """`runtime` "teacher": the run's teacher."""
    torch.set_num_threads(threads)
    if runtime == "teacher":
        return teacher_in_torch(run)
    return student_in_torch(run) if folder is None else student_in_onnx(run, runtime, folder, threads)


def memory_of(run: Path, runtime: str, folder: Path | None, threads: int, batch: int) -> int:
    """Bytes by which a process grows that loads a network and answers a batch; to be called in one of its own."""
    import onnxruntime  # noqa: F401 (both libraries are loaded before anything is counted)

    before = _peak()
    subject = subject_of(run, runtime, folder, threads)
    for tower in subject.towers:
        subject.ask(tower, batch)()
    return _peak() - before


def _peak() -> int:
    """The most bytes that this process has held. Linux's own count begins anew with a program, that of `resource` does
    not: it knows what the parent held.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        told = dict(line.split(":", 1) for line in status.read_text("latin-1").splitlines())
        return 1024 * int(told["VmHWM"].split()[0])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
