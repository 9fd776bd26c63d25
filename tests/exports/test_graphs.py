"""Graphs in lower precision: smaller, asked by the gate, and never one that its own runtime dies of."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from distillkit.errors import ExportError
from distillkit.export import export
from distillkit.exports._lowering import block_of, pattern_of, refuse_what_dies
from distillkit.exports._towers import _Through
from distillkit.recipe import Component
from distillkit.students import _slim, _slim_timm
from tests.exports.world import STUDENTS, card_of


@pytest.fixture(scope="module")
def graphs(runs, tmp_path_factory):
    """A pair in three precisions, whatever the gate says of them: {precision: (folder, lines)}."""
    folder, made = tmp_path_factory.mktemp("graphs"), {}
    for precision in ("fp32", "fp16", "int8"):
        lines = []
        place = export(
            runs("pair"), "onnx", precision=precision, out=folder / precision, allow_parity_loss=True, say=lines.append
        )
        made[precision] = place, lines
    return made


@pytest.mark.slow
def test_lower_precisions_have_names_of_their_own_and_are_smaller(graphs):
    for tower in ("vision", "text"):
        sizes = {
            precision: (graphs[precision][0] / f"onnx/{tower}_model{ending}.onnx").stat().st_size
            for precision, ending in (("fp32", ""), ("fp16", "_fp16"), ("int8", "_quantized"))
        }
        assert sizes["fp16"] < 0.7 * sizes["fp32"] and sizes["int8"] < 0.6 * sizes["fp32"], sizes


@pytest.mark.slow
def test_half_precision_answers_nearly_alike(graphs):
    told = [line for line in graphs["fp16"][1] if "worst cosine" in line]
    assert len(told) == 2 and all(float(line.partition("worst cosine ")[2].split(",")[0]) > 0.999 for line in told)


@pytest.mark.slow
def test_batches_may_be_of_any_size_and_metadata_says_what_comes_out(graphs):
    session = onnxruntime.InferenceSession(str(graphs["fp32"][0] / "onnx/vision_model.onnx"))
    for count in (1, 3, 7):
        (said,) = session.run(None, {"pixel_values": np.zeros((count, 3, 32, 32), np.float32)})
        assert said.shape == (count, 32)
    assert session.get_modelmeta().custom_metadata_map["embeddings"] == "raw, not normalised"


@pytest.mark.parametrize(
    ("name", "tower", "way"),
    [
        ("slim", "visual", _slim.encode_image),
        ("slim", "text", _slim.encode_text),
        ("slim_image", "trunk", _slim_timm.encode),
    ],
)
def test_what_no_ordinary_network_holds_takes_batches_of_any_size(name, tower, way):
    """Then our own way through it is traced, which must not depend on how many the example has."""
    student = Component(**STUDENTS[name]).build("students").eval()
    network = _Through(getattr(student, tower), way)
    example = torch.ones(2, 16, dtype=torch.long) if tower == "text" else torch.zeros(2, 3, 32, 32)
    sizes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (example,), dynamic_shapes=sizes).module()
    assert len(program(example.repeat_interleave(3, 0)[:5])) == 5


def test_a_graph_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match="onnxruntime cannot open it") as refusal:
        refuse_what_dies(tmp_path / "broken.onnx")
    assert "\n" not in str(refusal.value)


def test_blocks_are_the_modules_of_their_nodes():
    nodes = ["image/blocks.2.0.conv_dw/node_conv2d_5", "image/conv_stem/node_conv2d", "text/node_matmul"]
    nodes += ["text/transformer.resblocks.11.attn/node_linear_2", "image/blocks.2.10/node_add"]
    blocks = [block_of(node) for node in nodes]
    assert blocks[:3] == ["image/blocks.2.0", "image/conv_stem", "text/node_matmul"]
    assert blocks[3:] == ["text/transformer.resblocks.11", "image/blocks.2.10"]
    for block in blocks:
        assert [node for node in nodes if re.search(pattern_of([block]), node)] == [nodes[blocks.index(block)]]


@pytest.mark.slow
def test_nodes_are_named_after_their_modules(graphs):
    for tower, part in (("vision", "image"), ("text", "text")):
        nodes = onnx.load(graphs["fp32"][0] / f"onnx/{tower}_model.onnx").graph.node
        assert all(node.name.startswith(f"{part}/") for node in nodes)
        assert {f"{part}/transformer.resblocks.{n}" for n in (0, 1)} <= {block_of(node.name) for node in nodes}
        assert len({node.name for node in nodes}) == len(nodes)


@pytest.mark.slow
def test_what_int8_breaks_is_found_and_left_in_fp32(runs, tmp_path):
    """A MobileNetV3 is broken by int8; its card says which blocks are not in it, and they alone are not."""
    lines = []
    folder = export(runs("image"), "onnx", precision="int8", out=tmp_path / "out", say=lines.append)
    found = re.search(r"kept in fp32, as int8 breaks them: (.*) \((\d+) of (\d+) blocks\)", card_of(folder))
    kept = found[1].split(", ")
    assert len(kept) == int(found[2]) < int(found[3]) and any("looking for what breaks it" in line for line in lines)
    nodes = onnx.load(folder / "onnx/vision_model_quantized.onnx").graph.node
    whole = {block_of(node.name) for node in nodes if node.op_type == "Conv" and not _reads_integers(node, nodes)}
    assert whole and whole <= set(kept)


def _reads_integers(node, nodes):
    made = {name: other.op_type for other in nodes for name in other.output}
    return all(made.get(name) == "DequantizeLinear" for name in node.input[:2])


@pytest.mark.slow
def test_a_pattern_that_names_nothing_is_one_line(runs, tmp_path):
    with pytest.raises(ExportError, match="--keep fp32:nowhere: no node has such a name; names are as image/"):
        export(runs("image"), "onnx", precision="fp16", keep="nowhere", out=tmp_path / "out", say=lambda line: None)
    assert not (tmp_path / "out").exists()
