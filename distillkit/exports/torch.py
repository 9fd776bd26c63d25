"""torch.export: image.pt2 and text.pt2, opened by `torch.export.load`. https://docs.pytorch.org/docs/stable/export.html

Beside them preprocessor_config.json and tokenizer.json say what goes in; embeddings come out raw, not normalised.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillkit.errors import ExportError
from distillkit.exports._batches import BATCH
from distillkit.exports._described import Described, Opened
from distillkit.exports._files import put
from distillkit.exports._graphs import plain_attention, quietly
from distillkit.exports._pictures import write_preprocessor
from distillkit.exports._programs import OpenedPrograms, lines_of
from distillkit.exports._tokens import write_tokenizer
from distillkit.system.wording import one_line


class Torch:
    """A program for each tower, whose batch may be of any size."""

    precisions = ("fp32",)

    def holds(self, student: Described) -> str | None:
        """Every tower that there is; what torch.export cannot trace says so when it is tried."""
        return None if student.towers else "this student has no tower that stands for itself"

    def write(self, student: Described, folder: Path, precision: str, calibration: Any = None) -> None:
        if student.image is not None:
            side = student.image.shown.size
            _write(student.image.network, torch.randn(2, 3, side, side), folder / "image.pt2")
            write_preprocessor(folder, student.image.shown)
        if student.text is not None:
            tokens = torch.zeros(2, student.text.context_length, dtype=torch.int64)
            _write(student.text.network, tokens, folder / "text.pt2")
            write_tokenizer(folder, student.text)

    def open(self, folder: Path) -> Opened:
        return OpenedPrograms(folder, lambda tower: _asks(folder / f"{tower}.pt2"), BATCH)

    def lines(self, student: Described) -> str:
        return lines_of(
            student,
            "import torch\n",
            """\
network = torch.export.load("image.pt2").module()
with torch.inference_mode():
    image = network(torch.from_numpy(picture))
""",
            """\
network = torch.export.load("text.pt2").module()
with torch.inference_mode():
    text = network(torch.from_numpy(tokens))
""",
        )


def _write(network: nn.Module, example: Tensor, path: Path) -> None:
    network = network.eval().requires_grad_(False)
    with quietly(), plain_attention():
        try:
            program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, TypeError, ValueError) as error:
            reason = one_line(error)[:200]
            raise ExportError(f"{path.name}: torch.export cannot trace this network: {reason}") from error
    made = io.BytesIO()  # to a file it writes past Python, and the process dies of a full disk
    torch.export.save(program, made)
    put(path, made.getbuffer())


def _asks(path: Path) -> Callable[[np.ndarray], Tensor]:
    network: Any = torch.export.load(path).module()

    @torch.inference_mode()
    def ask(given: np.ndarray) -> Tensor:
        said: Tensor = network(torch.from_numpy(given))
        return said

    return ask
