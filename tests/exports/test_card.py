"""The card of an exported folder: its lines run, its numbers are the run's, and hubs find them where they look."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

from distillkit.export import export
from distillkit.exports._pictures import OPENED, pixels_of, read_preprocessor
from distillkit.pixels import decode
from tests.exports.world import ALONE, card_of, json_of, lines_of


def test_the_lines_of_a_classifier_name_the_five_best(classified, pictures):
    _, folder, _ = classified
    picture = Image.open(pictures.parent / "corpus/images/002.png").convert("RGB")
    picture.save(folder / "picture.png")
    code = "\n".join([ALONE, f"import os; os.chdir({str(folder)!r})", lines_of(folder)])
    done = subprocess.run([sys.executable, "-I", "-W", "ignore", "-c", code], capture_output=True, text=True)
    (folder / "picture.png").unlink()
    assert done.returncode == 0, done.stderr
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "classifier.onnx"))
    scores = session.run(["scores"], {"pixel_values": pixels_of([picture], read_preprocessor(folder))})[0][0]
    names = json_of(folder / "classes.json")["names"]
    best = np.argsort(-scores, kind="stable")[:5]
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == [names[place] for place in best]


def test_its_pixels_lie_in_memory_as_programs_read_them(classified, pictures, monkeypatch):
    """ExecuTorch reads a tensor as its bytes lie, whatever its strides: others would answer otherwise."""
    _, folder, _ = classified
    picture = Image.open(pictures.parent / "corpus/images/001.png").convert("RGB")
    monkeypatch.chdir(folder)
    said = {}
    exec(lines_of(folder).partition("\nsession")[0], said)
    made = said["pixels"](picture)
    assert made.flags.c_contiguous and made.dtype == np.float32
    assert np.array_equal(made, pixels_of([picture], read_preprocessor(folder)))


def test_pictures_are_opened_as_training_opens_them(tmp_path):
    """Of every mode; what Pillow would show as white is refused, which training scales."""
    said = {"Image": Image, "ImageOps": ImageOps}
    exec(OPENED, said)
    grey = Image.fromarray((np.arange(1024, dtype=np.uint8) % 251).reshape(32, 32))
    pictures = {f"{mode}.png": grey.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    pictures["CMYK.jpg"] = grey.convert("CMYK")
    pictures["RGBA.png"].putalpha(grey)
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        assert said["opened"](tmp_path / name).tobytes() == decode(tmp_path / name).tobytes(), name
    numbers = np.asarray(grey)
    for name, values in (("16.png", numbers.astype(np.uint16)), ("float.tif", numbers.astype(np.float32) / 255)):
        Image.fromarray(values).save(tmp_path / name)
        with pytest.raises(ValueError, match="scale it to 8 bits first"):
            said["opened"](tmp_path / name)


def test_results_stand_in_the_card_and_where_hubs_look(classified):
    run, folder, _ = classified
    results = json.loads((run / "evaluation.json").read_bytes())["results"]
    card, (name, told) = card_of(folder), next(iter(results.items()))
    assert f"**{name}**" in card and "| | " + " | ".join(told) + " |" in card and set(told) >= {"teacher", "student"}
    number = next(key for key in told["student"] if f"{key}.low" in told["student"])
    value, low, high = (told["student"][f"{number}{end}"] for end in ("", ".low", ".high"))
    assert f"{value:.4g} ({low:.4g} to {high:.4g})" in card
    entries = yaml.safe_load((folder / ".eval_results/eval_results.yaml").read_text())
    assert any(entry["value"] == pytest.approx(value, abs=1e-4) for entry in entries), entries


def test_it_says_what_it_was_made_of_and_by_whom(classified):
    run, folder, _ = classified
    card, facts = card_of(folder), json.loads((run / "student.json").read_bytes())
    assert facts["teacher"]["weights_sha256"] in card and re.search(r"\| licence \| unknown: name it", card)
    assert "| text tower | none |" in card and re.search(r"Made with .*distillkit .*onnxruntime ", card)
    parity = json_of(folder / "distillkit.json")["parity"]
    assert parity["towers"][0]["worst"] > 1 - 1e-5 and parity["precision"] == "fp32"
    assert f"worst cosine {parity['towers'][0]['worst']:.7f}" in card


@pytest.mark.parametrize("licence", [None, "apache-2.0", "CC BY: as it is\n- x", 'a "b" # c'])
def test_its_head_is_what_hubs_read_and_no_line_says_where_things_lie_here(runs, tmp_path, licence):
    folder = export(runs("image"), "timm", out=tmp_path / "out", licence=licence, say=lambda line: None)
    card = card_of(folder)
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == " ".join((licence or "unknown").split()) and head["tags"][0] == "distillation"
    assert "| data | images images |" in card and "| teacher | local-dir:toy, weights" in card
    assert "from images;" in card and "| licence |" in card
    for path in folder.rglob("*.*"):
        if path.suffix in (".md", ".json"):
            assert str(tmp_path.parent.parent) not in path.read_text(), path
