"""A disk that is full while a student leaves: one line, whichever library writes, and nothing is left of it."""

import errno
import shutil

import numpy as np
import pytest

from distillkit.errors import DiskFull
from distillkit.export import export
from distillkit.exports._files import by_number
from distillkit.exports._lowering import lower
from tests.small_disk import no_file_above

# A kind of student and how it leaves; each file of these is written by another library.
LEAVES = [
    ("tokens", "timm", "fp32"),
    ("pair", "hf", "fp32"),
    ("pair", "open_clip", "fp32"),
    ("pair", "torch", "fp32"),
    pytest.param("tokens", "onnx", "fp32", marks=pytest.mark.slow),
    pytest.param("tokens", "onnx", "fp16", marks=pytest.mark.slow),
    ("tokens", "onnx", "int8"),
]


@pytest.mark.parametrize(("name", "to", "precision"), LEAVES)
def test_one_line_and_nothing_is_left(runs, run_cli, tmp_path, name, to, precision):
    run, out = runs(name), tmp_path / "out"
    command = ("export", run, "--to", to, "--precision", precision, "--out", out)
    assert run_cli(*command)[0] == 0
    sizes = sorted({path.stat().st_size for path in out.rglob("*") if path.is_file()}, reverse=True)
    for most in {sizes[0] - 1, sizes[min(1, len(sizes) - 1)] - 1}:  # for the largest, and for what comes before it
        place = tmp_path / f"at{most}"
        with no_file_above(most):
            code, _, err = run_cli("export", run, "--to", to, "--precision", precision, "--out", place)
        last = err.splitlines()[-1]
        assert code == 1 and last.startswith("error: ") and str(tmp_path) in last, f"at most {most} bytes: {err}"
        assert "file too large" in last, f"at most {most} bytes: {err}"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_rust_tells_in_words_is_an_error_of_the_system(tmp_path):
    with pytest.raises(DiskFull, match="no space left"), by_number(tmp_path / "tokenizer.json"):
        raise Exception("No space left on device (os error 28)")
    with pytest.raises(Exception, match="something else"), by_number(tmp_path / "tokenizer.json"):
        raise Exception("something else")


def test_quantizers_are_asked_for_nothing_that_the_disk_has_no_room_for(runs, tmp_path):
    """They write graphs on their way, past Python, and take what was cut off for a damaged graph."""
    whole = export(runs("tokens"), "onnx", out=tmp_path / "whole", say=lambda line: None) / "onnx/vision_model.onnx"
    pixels = np.zeros((8, 3, 32, 32), np.float32)
    for precision, calibration in (("int8", pixels), ("int8", None), ("fp16", None)):
        path = shutil.copyfile(whole, tmp_path / "graph.onnx")
        with no_file_above(path.stat().st_size + 100), pytest.raises(OSError) as caught:
            lower(path, precision, calibration)
        assert caught.value.errno == errno.EFBIG
