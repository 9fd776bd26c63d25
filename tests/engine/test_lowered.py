"""A teacher asked again in another precision, about the rows of a store: what it would lose, in numbers."""

import json

import pytest

from distillkit import teacher_precision

pytest.importorskip("torchao")


def test_what_a_precision_costs_is_measured_on_the_stores_own_rows(toy_stores, run_cli):
    found = {}
    for precision in ("fp32", "bf16", "int8"):
        code, out, err = run_cli("store", "precision", toy_stores / "out/images", "--against", precision, "--rows", 32)
        assert code == 0, err
        lines = [line for line in out.splitlines() if " vectors, 1 - cosine " in line]
        assert [line.split(" in ")[0].rpartition("/")[2] for line in sorted(lines)] == ["image", "text"]
        (image,) = (line for line in lines if "/image in " in line)
        assert f" in {precision}: 32 vectors, " in image and "overlap@10 " in image
        found[precision] = float(image.split("worst ")[1].split(",")[0])
    (lost,) = teacher_precision(toy_stores / "out/images", "bf16", rows=32, fields=["image"])
    assert lost.worst == pytest.approx(found["bf16"], rel=0.1) and 0 < lost.overlap <= 1
    # The store keeps fp16 of what was said in fp32; each step down costs more.
    assert found["fp32"] < 1e-6 < found["bf16"] < found["int8"] < 0.05


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--against", "fp4"), "--against fp4.openclip: precision: Input should be"),
        (("--against", "fp8"), 'teacher.precision = "fp8": cpu cannot compute in it'),
        (("--against", "fp16", "--field", "nothing"), "nothing"),
    ],
)
def test_what_cannot_be_asked_is_one_line(toy_stores, run_cli, words, told):
    code, out, err = run_cli("store", "precision", toy_stores / "out/images", *words)
    assert code == 1 and told in err and "Traceback" not in err and "overlap" not in out
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1


def test_what_it_costs_is_told_as_json_too(toy_stores, run_cli):
    asked = ("--against", "bf16", "--rows", 16, "--field", "image", "--json")
    code, out, err = run_cli("store", "precision", toy_stores / "out/images", *asked)
    (told,) = map(json.loads, out.splitlines())
    assert code == 0, err
    assert told["vectors"] == 16 and told["precision"] == "bf16" and told["field"].endswith("/image")
    assert 0 < told["error"] <= told["worst"] and 0 < told["overlap"] <= 1


@pytest.mark.usefixtures("every_step")
def test_a_long_measurement_tells_how_far_it_is(toy_stores):
    said, images = [], toy_stores / "out/images"
    teacher_precision(images, "bf16", rows=40, fields=["image"], say=said.append)
    assert any(line.startswith(f"{images}: rows asked in bf16 32/40  ") for line in said)
    assert any(line.startswith("sha256 of the weights: bytes ") for line in said)
