"""Graphs in lower precision: smaller, asked by the gate, and never one that its own runtime dies of."""

import numpy as np
import onnxruntime
import pytest

from distillkit.errors import ExportError
from distillkit.export import export
from distillkit.exports._graphs import refuse_what_dies


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


def test_a_graph_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match="onnxruntime cannot open it") as refusal:
        refuse_what_dies(tmp_path / "broken.onnx")
    assert "\n" not in str(refusal.value)
