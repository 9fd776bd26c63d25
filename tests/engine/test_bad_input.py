"""Stage 1 under bad input: damaged images, odd teachers, recipes that do not fit."""

import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from tests.engine.whole import checksums, rows


def damage(corpus):
    """Nine images go bad in nine ways; returns their keys."""
    images = corpus / "images"
    good = (images / "001.png").read_bytes()
    (images / "003.png").write_bytes(b"")
    (images / "010.png").write_bytes(good[: len(good) // 2])
    (images / "011.png").write_bytes(b"<html>not found</html>")
    (images / "020.png").unlink()
    (images / "021.png").unlink()
    (images / "021.png").mkdir()
    (images / "030.png").unlink()
    (images / "030.png").symlink_to(images / "030.png")
    Image.new("L", (100_000, 1)).save(images / "040.png")
    bomb = bytearray(good)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    (images / "050.png").write_bytes(bomb)
    (images / "069.png").write_bytes(good[:-1000])
    return [f"images/{n:03d}.png" for n in (3, 10, 11, 20, 21, 30, 40, 50, 69)]


def test_damaged_images_go_to_the_ledger_and_change_nothing_else(extract, corpus, stores):
    assert extract()[0] == 0
    keys = [f"images/{n:03d}.png" for n in range(70)]
    before = dict(zip(keys, rows(FeatureStore(stores / "images"), keys), strict=True))

    bad = damage(corpus)
    shutil.rmtree(stores)
    code, err = extract("corpora.0.max_failures=0.2")
    assert code == 0 and f"9 of 70 samples failed; see: distillkit store failures {stores / 'images'}" in err
    store = FeatureStore(stores / "images")
    assert [line["key"] for line in store.failures()] == bad
    assert all(line["stage"] == "decode" and line["error"] and "\n" not in line["error"] for line in store.failures())
    assert np.isnan(store.read("image", np.setdiff1d(np.arange(70), store.ok_rows)).numpy()).all()

    good = [key for key in keys if key not in bad]
    # Other neighbours in a batch may change the last bits of float32, and so the last bit of float16.
    np.testing.assert_allclose(rows(store, good), np.stack([before[key] for key in good]), rtol=2e-3, atol=1e-4)


def test_too_many_failures_are_exit_code_1_every_time(extract, corpus, stores):
    damage(corpus)
    for _ in range(2):
        code, err = extract("corpora.0.max_failures=0.1")
        assert code == 1 and err.splitlines()[-1].startswith(f"error: {stores / 'images'}: 9 of 70 samples failed")
        assert "more than max_failures = 0.1" in err
    assert checksums(stores / "images")  # the store is complete all the same, and so are the others of the recipe
    assert Manifest.read(stores / "texts").skipped == 0
    assert extract("corpora.0.max_failures=0.13")[0] == 0


def test_a_corpus_without_one_good_image_is_told_before_the_teacher_is_loaded(extract, corpus, stores):
    for path in (corpus / "images").iterdir():
        path.write_bytes(b"")
    code, err = extract()
    assert code == 1 and "not one of 32 rows from all over it has an image that can be read" in err.splitlines()[-1]
    assert "loading" not in err and not stores.exists()


def test_every_kind_of_image_is_extracted(extract, tmp_path, stores):
    folder = tmp_path / "kinds"
    folder.mkdir()
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("P").save(folder / "palette.png", transparency=3)
    colour.save(folder / "animated.gif", save_all=True, append_images=[colour.rotate(90)])
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16)).save(folder / "sixteen.png")
    colour.convert("LA").save(folder / "grey.webp")
    Image.new("RGB", (1, 1)).save(folder / "one.bmp")
    source = f'corpora.0.source={{ kind = "folder", root = "{folder}" }}'
    assert extract(source, 'corpora.0.fields=["image"]')[0] == 0
    store = FeatureStore(stores / "images")
    assert len(store.ok_rows) == 6 and store.read("image", np.arange(6)).isfinite().all()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf_8_is_a_line_in_the_ledger(extract, corpus, stores):
    (corpus / "images" / os.fsdecode(b"caf\xe9.png")).write_bytes((corpus / "images/001.png").read_bytes())
    source = f'corpora.0.source={{ kind = "folder", root = "{corpus}" }}'
    assert extract(source, 'corpora.0.fields=["image"]')[0] == 0
    (line,) = FeatureStore(stores / "images").failures()
    assert line["key"] == r"images/caf\xe9.png" and "not UTF-8" in line["error"]


def test_an_image_without_a_caption_is_kept(extract, corpus, stores, run_cli):
    """Kind G: forty titles, of which ten are empty, cost ten texts and no image."""
    table = corpus / "pairs.tsv"
    header, *lines = table.read_text().splitlines()[:41]
    silent = range(0, 40, 4)
    lines = ["\t" + line.split("\t")[1] if n in silent else line for n, line in enumerate(lines)]
    table.write_text("\n".join([header, *lines]))
    code, err = extract()
    assert code == 0 and f"{stores / 'images'}: 40 samples taken; 10 without a text" in err.splitlines()
    store = FeatureStore(stores / "images")
    assert store.manifest.skipped == 0 and len(store.ok_rows) == 40 and store.failures() == []
    assert store.read("image", np.arange(40)).isfinite().all()
    assert np.array_equal(store.rows_with("text"), np.setdiff1d(np.arange(40), silent))
    assert store.read("text", store.rows_with("text")).isfinite().all()
    header, *told = run_cli("store", "failures", stores / "images")[1].splitlines()
    assert header == "key\tstage\terror"
    assert len(told) == 10 and told[0] == "images/000.png\ttext\tthe sample has no text; its image is kept"


def test_texts_that_are_cut_are_told_when_planned_and_in_the_manifest(extract, corpus, stores, run_cli):
    """Kind G; a remark: without it the store is the same."""
    texts = corpus / "texts.txt"
    texts.write_text("".join(f"{'word ' * words}\n" for words in (3, 74, 75, 76, 77, 200)))  # 75 and two marks are 77
    code, err = extract()
    told = f"{stores / 'texts'}: 3 of 6 texts that were looked at are longer than teacher openclip can read: it sees "
    assert code == 0 and told + "their beginnings" in err.splitlines()
    manifest = Manifest.read(stores / "texts")
    assert manifest.remarks == {"texts cut to what the teacher reads": {"openclip": 3}}
    assert manifest.digest == manifest.model_copy(update={"remarks": {}}).digest
    assert (
        "note     texts cut to what the teacher reads: 3 by openclip" in run_cli("store", "info", stores / "texts")[1]
    )
    assert "remarks" not in (stores / "images/manifest.json").read_text()  # as before there were any


@pytest.mark.long
@pytest.mark.parametrize("decode", ["threads", "processes"])
def test_pictures_whose_side_matter_is_dropped_are_counted(extract, corpus, stores, run_cli, decode):
    first = (corpus / "images/000.png").read_bytes()
    (corpus / "images/000.png").write_bytes(first[:33] + b"\0\0\0\1tEXtx\0\0\0\0" + first[33:])  # a wrong checksum
    assert extract(f'decode="{decode}"')[0] == 0
    assert FeatureStore(stores / "images").failures() == []
    told = run_cli("store", "info", stores / "images")[1].splitlines()
    assert "note     decoded without what lies beside its pixels: 1 image" in told


def test_images_are_not_asked_of_texts(extract, stores):
    assert extract()[0] == 0
    code, err = extract('corpora.1.fields=["image"]')
    assert code == 1 and "this kind of source gives no images" in err.splitlines()[-1]


def table_line(corpus, number):
    return (corpus / "pairs.tsv").read_text().splitlines(keepends=True)[number]


def test_samples_that_come_twice_are_counted_and_left_out(extract, corpus, stores, run_cli, recipes):
    with (corpus / "pairs.tsv").open("a") as table:
        table.write("again\timages/003.png\nand again\timages/003.png\n" + table_line(corpus, 4))
    told = "left out 1 sample whose key had come before"
    assert f"{stores / 'images'}: {told}" in run_cli("extract-teacher", recipes[0], "--plan")[2]
    code, err = extract()
    assert code == 0 and f"{stores / 'images'}: {told}" in err
    assert told in next(
        line for line in run_cli("store", "info", stores / "images")[1].splitlines() if "corpus " in line
    )
    assert "left out: 2 more captions of images that came before" in err  # and nobody counts these again
    manifest = Manifest.read(stores / "images")
    assert manifest.rows == 70 and manifest.source["duplicates"] == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_what_a_teacher_cannot_say_in_the_stored_type_is_a_failure(extract, stores, monkeypatch, value):
    from distillkit.teachers.openclip import Openclip

    real = Openclip.encode_text

    def odd(self, tokens):
        said = real(self, tokens).clone()
        said[(tokens == self.tokenizer(["7"])[0, 1]).any(dim=1), 3] = value  # every text with a 7 in it
        return said

    monkeypatch.setattr(Openclip, "encode_text", odd)
    monkeypatch.setattr(Openclip, "_trimming_changes_nothing", lambda self: True)
    code, err = extract("corpora.1.max_failures=0.5")
    assert code == 0, err
    store = FeatureStore(stores / "texts")
    failed = {
        text for text, ok in zip(store.index["text"].to_pylist(), store.index["ok"].to_pylist(), strict=True) if not ok
    }
    assert failed == {text for text in store.index["text"].to_pylist() if text.endswith("7")} and len(failed) == 16
    assert {line["error"] for line in store.failures()} == {
        "text: the teacher gave a value that is not finite in float16"
    }
    if value == 1e6:
        assert extract("corpora.1.max_failures=0.0", 'corpora.1.dtype="float32"', "--overwrite")[0] == 0


def test_a_place_with_other_files_is_refused_before_the_teacher_is_loaded(extract, stores):
    (stores / "images").mkdir(parents=True)
    (stores / "images/holiday.png").write_bytes(b"mine")
    code, err = extract()
    assert code == 1 and "loading" not in err
    assert err.splitlines()[-1] == (
        f"error: {stores / 'images'}: holiday.png lies here, and no plan.json, so this is no store; choose another "
        "`out`, or move away what lies here"
    )
    assert [path.name for path in (stores / "images").iterdir()] == ["holiday.png"]


def test_recipes_that_do_not_fit_are_refused_before_the_teacher_is_loaded(extract, stores):
    code, err = extract('corpora.0.fields=["image", "logits"]')
    assert code == 1 and "corpus 'images': the teacher gives no 'logits'; it gives: image, text" in err
    assert "loading" not in err and not stores.exists()
    code, err = extract("corpora.0.rows_per_shard=100")
    assert code == 1 and "rows_per_shard = 100 does not fit rows of 64 bytes; take a multiple of 64" in err
    assert "loading" not in err and not stores.exists()


def test_out_may_use_placeholders(extract, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "elsewhere"))
    assert extract('out="{cache}/stores"')[0] == 0
    assert (tmp_path / "elsewhere/stores/images/manifest.json").is_file()
