"""Graphs in lower precision, and the blocks of them that may stay in fp32."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from distillkit.errors import ExportError
from distillkit.exports._files import put, take_room
from distillkit.exports._graphs import quietly
from distillkit.system.atomic import make_folder

_QUANTIZED = ["Conv", "MatMul", "Gemm"]
_BLOCK = re.compile(r".*?\d+(\.\d+)*")  # "blocks.2.0" of "blocks.2.0.conv_dw"


class Graphs:
    """The graphs of one export: each made once, and lowered as often as somebody wants other blocks in fp32."""

    def __init__(self) -> None:
        self._made: dict[str, bytes] = {}

    def write(
        self,
        path: Path,
        precision: str,
        calibration: Float[np.ndarray, "n 3 h w"] | None,
        keep: str | None,
        make: Callable[[Path], None],
    ) -> int:
        """`make` writes it in fp32. Returns how many nodes `keep` kept so."""
        if path.name in self._made:
            make_folder(path.parent)
            put(path, self._made[path.name])
        else:
            make(path)
        if precision == "fp32":
            return 0
        self._made[path.name] = path.read_bytes()
        return lower(path, precision, calibration, keep)

    def blocks(self, precision: str) -> list[str]:
        """Of all graphs, in the order of their nodes, such as "image/blocks.2.0": what loses precision."""
        import onnx

        found: dict[str, None] = {}
        for data in self._made.values():
            graph = onnx.load_model_from_string(data).graph
            lowered = {*_QUANTIZED, *(["Gather"] if graph.input[0].name == "input_ids" else [])}
            for node in graph.node:
                if precision == "fp16" or node.op_type in lowered:
                    found[block_of(node.name)] = None
        return list(found)


def block_of(node: str) -> str:
    """ "image/blocks.2.0" of the node "image/blocks.2.0.conv_dw/node_conv2d_5"; a node of no block is one itself."""
    tower, _, rest = node.partition("/")
    scope, _, _ = rest.rpartition("/")
    found = _BLOCK.match(scope)
    return f"{tower}/{found[0] if found else scope or rest}"


def pattern_of(blocks: Sequence[str]) -> str:
    """For --keep: the nodes of these blocks."""
    return "|".join(f"^{re.escape(block)}([./]|$)" for block in blocks)


def refuse_nothing_kept(keep: str | None, kept: int) -> None:
    """ExportError where a pattern names no node of any graph."""
    if keep is not None and not kept:
        raise ExportError(f"--keep fp32:{keep}: no node has such a name; names are as image/blocks.2.0.conv_dw/node_7")


def lower(path: Path, precision: str, calibration: Float[np.ndarray, "n 3 h w"] | None, keep: str | None = None) -> int:
    """The graph at `path` in another precision, under its own name. Inputs and outputs stay float32.

    int8 is static, channel by channel, over what `calibration` calls forth; without it, dynamic. `keep`: a pattern of
    names of nodes that stay in fp32; returns how many do.
    """
    import onnx

    for folder in (path.parent, Path(tempfile.gettempdir())):  # quantizers leave graphs on their way in both
        take_room(folder, 2 * path.stat().st_size)
    model = onnx.load(path)
    kept = [node.name for node in model.graph.node if keep is not None and re.search(keep, node.name)]
    with quietly():
        if precision == "fp16":
            from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

            # Norms square what they see, which overflows first; and onnxruntime 1.32 dies of one in fp16 on a CPU.
            wide = [*DEFAULT_OP_BLOCK_LIST, "LayerNormalization"]
            lowered = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept, op_block_list=wide)
            onnx.save(lowered, path)
        elif calibration is None:
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(
                path, path, per_channel=True, op_types_to_quantize=[*_QUANTIZED, "Gather"], nodes_to_exclude=kept
            )
        else:
            from onnxruntime.quantization import quantize_static

            reader: Any = _Reader(model.graph.input[0].name, calibration)
            quantize_static(
                path, path, reader, per_channel=True, op_types_to_quantize=_QUANTIZED, nodes_to_exclude=kept
            )
    refuse_what_dies(path)
    return len(kept)


def refuse_what_dies(path: Path) -> None:
    """ExportError for a graph of which onnxruntime itself dies: tried in a process of its own."""
    code = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace")
    if done.returncode:
        told = done.stderr.strip().splitlines()
        why = f"signal {-done.returncode}" if done.returncode < 0 else told[-1][:200] if told else "it says nothing"
        raise ExportError(f"{path.name}: onnxruntime cannot open it ({why}); take another precision")


class _Reader:
    """Calibration, some pictures at a time, as onnxruntime asks for it."""

    def __init__(self, name: str, pixels: Float[np.ndarray, "n 3 h w"]):
        self._parts: Iterator[Any] = iter([{name: part} for part in np.array_split(pixels, max(len(pixels) // 8, 1))])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._parts, None)
