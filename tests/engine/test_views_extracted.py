"""K views of an image from one decode: each feature belongs to the pixels that its stored parameters make."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.errors import SourceError
from distillkit.pixels import decode, jpegs, render, views
from distillkit.pixels.tensors import decode_tensor
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.teachers import _preprocess
from distillkit.teachers.openclip import Openclip

DRAWN = "count = 3, scale = [0.3, 1.0], flip = 0.5, randaugment = { ops = 2, magnitude = 9 }"


@pytest.fixture
def extract(recipes, run_cli, tmp_path):
    """Stage 1 of the toy images alone, with these views: (exit code, stderr, store)."""
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")])

    def run(drawn, *overrides, fields='["image", "text", "patches"]', out="out"):
        settings = [f"corpora.0.fields={fields}", f'out="{tmp_path}/{out}"']
        # 108 bytes of parameters a row: 1024 of them are whole pages.
        settings += [f"corpora.0.views={{ {drawn} }}", "corpora.0.rows_per_shard=1024"] if drawn else []
        settings += overrides
        code, _, err = run_cli("extract-teacher", recipes[0], *(a for s in settings for a in ("--set", s)))
        assert "Traceback" not in err
        return code, err, tmp_path / out / "images"

    return run


def test_every_stored_view_replays_bit_for_bit_and_its_features_with_it(extract, corpus, teacher_folder):
    code, err, path = extract(DRAWN)
    assert code == 0 and verify(path) == [], err
    store, teacher = FeatureStore(path), Openclip(model=f"local-dir:{teacher_folder}", device="cpu")
    manifest = Manifest.read(path)
    assert manifest.views["count"] == 3 and manifest.made_with.keys() >= {"pillow", "torchvision"}
    assert {name: (field.shape, field.per_view) for name, field in manifest.fields.items()} == {
        "openclip/image": ([3, 32], True),
        "openclip/text": ([32], False),
        "openclip/patches": ([3, 4, 64], True),
        "views/parameters": ([3, len(manifest.views["columns"])], True),
    }
    parameters, image = (store.read(name, np.arange(70)).numpy() for name in ("views/parameters", "image"))
    shown = []
    for row in range(70):
        picture = decode(corpus / store.index["image"][row].as_py())
        replayed = [views.unpacked(parameters[row, view]) for view in range(3)]
        shown.append(teacher.preprocess(picture))
        shown += [torch.from_numpy(render(picture, view, 32, "bicubic")) for view in replayed[1:]]
    with torch.inference_mode():
        said = teacher.forward(pixels=torch.stack(shown), fields=["image"]).image.reshape(70, 3, 32)
    np.testing.assert_allclose(image.astype("f4"), said, rtol=2e-3, atol=1e-4)
    assert len(np.unique(parameters.reshape(210, -1), axis=0)) > 140  # clean views of equal shape are equal


def test_one_decode_serves_all_views(extract, monkeypatch):
    decoded, real = [], _preprocess.decode
    monkeypatch.setattr(_preprocess, "decode", lambda image, **limits: decoded.append(image) or real(image, **limits))
    assert extract(DRAWN)[0] == 0 and len(decoded) == 70


def test_a_gpu_decodes_for_a_teacher_and_damage_stays_a_line_in_the_ledger(extract, corpus, monkeypatch):
    """A decoder on the CPU stands in for the GPU's: the same features as by torchvision's path, the same failures."""
    for number in range(50):
        path = corpus / f"images/{number:03d}.png"
        Image.open(path).save(path, "JPEG")
    whole = (corpus / "images/003.png").read_bytes()
    (corpus / "images/003.png").write_bytes(whole[: whole.index(b"\xff\xda")] + b"\xff\xd9")
    (corpus / "images/007.png").write_bytes(whole[:300])
    (corpus / "images/060.png").write_bytes(b"")
    path = 'teacher.pixels="torchvision"'
    assert extract(DRAWN, path, fields='["image"]', out="cpu")[0] == 0
    calls = []

    def decode_on(device, data):
        calls.append(len(data))
        try:
            return [decode_tensor(one) for one in data]
        except SourceError as error:
            raise RuntimeError("nvjpeg") from error

    monkeypatch.setattr(_preprocess, "no_gpu", lambda device: None)
    monkeypatch.setattr(jpegs, "decode_on", decode_on)
    code, err, path = extract(DRAWN, 'teacher.pixels="nvjpeg"', fields='["image"]')
    assert code == 0 and calls, err
    ours, theirs = FeatureStore(path), FeatureStore(path.parents[1] / "cpu/images")
    assert ours.failed_rows.tolist() == theirs.failed_rows.tolist() == [3, 7, 60]
    rows = ours.ok_rows
    np.testing.assert_allclose(ours.read("image", rows).float(), theirs.read("image", rows).float(), 2e-3, 1e-3)
    assert torch.equal(ours.read("views/parameters", rows), theirs.read("views/parameters", rows))
    assert ours.teacher("image")["preprocess"]["pixels"] == "nvjpeg"
    code, err, _ = extract(None, 'teacher.pixels="nvjpeg"', 'decode="processes"', out="processes")
    assert code == 1 and 'with teacher.pixels = "nvjpeg" the GPU decodes; use "threads"' in err


def test_without_a_gpu_nothing_decodes_there(extract):
    code, err, _ = extract(None, 'teacher.pixels="nvjpeg"', 'teacher.device="cpu"')
    assert code == 1 and 'teacher.pixels: "nvjpeg" decodes on an NVIDIA GPU, here is cpu; take "torchvision"' in err


def test_view_0_is_what_an_extraction_without_views_gives(extract):
    _, _, path = extract(DRAWN)
    _, _, clean = extract(None, out="clean")
    one, other = FeatureStore(path), FeatureStore(clean)
    rows = np.arange(70)
    np.testing.assert_allclose(one.read("image", rows)[:, 0].float(), other.read("image", rows).float(), 2e-3, 1e-4)
    assert (
        extract("count = 1", "corpora.0.rows_per_shard=64", out="clean")[1].count("already complete") == 1
    )  # the one clean view


def test_views_do_not_depend_on_the_order_of_the_corpus_or_the_workers(extract, corpus):
    _, _, path = extract(DRAWN, fields='["image"]')
    lines = (corpus / "pairs.tsv").read_text().splitlines()
    (corpus / "pairs.tsv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    _, _, other = extract(DRAWN, "decode_threads=5", fields='["image"]', out="other")
    one, two = FeatureStore(path), FeatureStore(other)
    keys = [f"images/{n:03d}.png" for n in range(70)]
    for name in ("views/parameters",):
        assert torch.equal(one.read(name, one.rows_of(keys)), two.read(name, two.rows_of(keys)))


def test_a_batch_is_so_many_views_whatever_their_number(extract, monkeypatch):
    sizes, real = [], Openclip.forward

    def counting(self, **inputs):
        sizes.append(len(inputs["pixels"]))
        return real(self, **inputs)

    monkeypatch.setattr(Openclip, "forward", counting)
    assert extract(DRAWN, fields='["image"]')[0] == 0
    assert sizes == [15] * 14  # 16 // 3 images at once


def test_an_image_that_fails_has_no_view(extract, corpus):
    (corpus / "images/003.png").write_bytes(b"")
    code, err, path = extract(DRAWN, "corpora.0.max_failures=0.1")
    assert code == 0, err
    store = FeatureStore(path)
    failed = np.setdiff1d(np.arange(70), store.ok_rows)
    assert failed.tolist() == [3]
    assert all(store.read(name, failed).isnan().all() for name in Manifest.read(path).fields)
    assert json.loads((path / "failures/00000.jsonl").read_text())["stage"] == "decode"


def test_views_that_mean_nothing_are_refused(extract):
    code, err, path = extract(DRAWN, fields='["text"]')
    assert code == 1 and not path.exists()
    assert "corpus 'images': views: none of its fields is of images; leave [corpora.views] out" in err
    assert "loading" not in err
    code, err, _ = extract("count = 2, flip = 1.5")
    assert code == 1 and "flip" in err.splitlines()[-1]
    code, err, _ = extract("count = 2, scale = [0.5, 1.5]")
    assert code == 1 and "scale = [0.5, 1.5]: want 0 < low <= high <= 1" in err.splitlines()[-1]
