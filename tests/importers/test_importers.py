"""What other projects have stored, as they store it, becomes a store that says the same."""

import base64
import gzip
import io
import itertools
import json
import re
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from distillkit import stores
from distillkit.engine import importing as module
from distillkit.engine.importing import import_features
from distillkit.errors import DistillkitError, SourceError, StoreError
from distillkit.originals import Originals
from distillkit.recipe import Component
from distillkit.recipe.registry import kinds
from distillkit.report.made import made
from distillkit.store.format.maker import how_again
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system import progress


def bring(kind, source, out, **knobs):
    said = []
    import_features(Component(kind=kind, **knobs), source, out, {"toy": "1"}, said.append)
    assert verify(out) == []
    return FeatureStore(out), said


# clip-retrieval.


def clip_retrieval(folder, rows=(100, 50), key=lambda n: f"/photos/{n:05d}.jpg"):
    random, images, texts, start = np.random.default_rng(0), [], [], 0
    for number, count in enumerate(rows):
        for name, arrays in (("img_emb", images), ("text_emb", texts)):
            drawn = random.standard_normal((count, 32))
            arrays.append((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16))
            (folder / name).mkdir(parents=True, exist_ok=True)
            np.save(folder / name / f"{name}_{number}.npy", arrays[-1])
        (folder / "metadata").mkdir(exist_ok=True)
        paths = [key(n) for n in range(start, start + count)]
        table = {"image_path": paths, "caption": [f"caption {path}" for path in paths], "width": [1] * count}
        pq.write_table(pa.table(table), folder / f"metadata/metadata_{number}.parquet")
        start += count
    return np.concatenate(images), np.concatenate(texts)


def test_a_long_import_tells_how_far_it_is(tmp_path, monkeypatch):
    clip_retrieval(tmp_path / "embeddings")
    clock = itertools.count(0, 20)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(module, "_ROWS", 64)
    _, said = bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out", model="m/t", images="/photos")
    out = re.escape(str(tmp_path / "out"))
    assert any(re.fullmatch(rf"{out}: planning, rows [\d,]+ so far  .*/s", line) for line in said)
    assert [line for line in said if re.fullmatch(rf"{out}: rows (64|128)/150  .*/s  .* left", line)]


def test_the_log_of_an_import_tells_the_command(tmp_path):
    clip_retrieval(tmp_path / "embeddings")
    out = tmp_path / "out"
    stores.import_features("clip_retrieval", tmp_path / "embeddings", out, overrides=['model="m/t"'])
    told = f"distillkit store import clip_retrieval {tmp_path}/embeddings {out} --set 'model=\"m/t\"'"
    assert how_again(out) == told and made([out], []) == ([told], [out])


def test_clip_retrieval(tmp_path):
    images, texts = clip_retrieval(tmp_path / "embeddings")
    store, said = bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out", model="m/t", images="/photos")
    assert not said and len(store) == len(store.ok_rows) == 150
    np.testing.assert_array_equal(store.read("image", np.arange(150)).numpy(), images)
    np.testing.assert_array_equal(store.read("text", np.arange(150)).numpy(), texts)
    assert store.index["key"][120].as_py() == "/photos/00120.jpg"
    assert store.index["image"][120].as_py() == "00120.jpg" and str(store.root) == "/photos"
    assert store.index["text"][3].as_py() == "caption /photos/00003.jpg"
    record = store.teacher("image")
    assert record["kind"] == "imported" and record["imported_from"] == "clip_retrieval" and record["normalised"]
    assert "weights_sha256" not in record  # nobody said it


def test_keys_that_come_twice_are_told_and_their_rows_stay_their_own(tmp_path):
    images, _ = clip_retrieval(tmp_path / "embeddings", key=lambda n: f"{n % 120}.jpg")
    store, said = bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    assert said == [f"{tmp_path / 'out'}: left out 30 rows whose key had come before"]
    np.testing.assert_array_equal(store.read("image", np.arange(120)).numpy(), images[:120])


def test_values_that_are_no_numbers_are_lines_of_the_ledger(tmp_path):
    clip_retrieval(tmp_path / "embeddings")
    path = tmp_path / "embeddings/img_emb/img_emb_1.npy"
    array = np.load(path)
    array[7, 3] = np.nan
    np.save(path, array)
    store, _ = bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    (line,) = store.failures()
    assert line["key"] == "/photos/00107.jpg" and line["stage"] == "read" and "not finite" in line["error"]
    assert store.read("text", [107]).isnan().all()


def test_clip_retrieval_refuses_pickles_and_what_does_not_fit(tmp_path):
    clip_retrieval(tmp_path / "embeddings")
    with pytest.raises(
        SourceError, match="no column 'uid' to name rows by; set key to one of: image_path, caption, width"
    ):
        bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out", key="uid")
    np.save(tmp_path / "embeddings/img_emb/img_emb_1.npy", np.zeros((49, 32), np.float16))
    with pytest.raises(SourceError, match="img_emb: not as many rows as in metadata/"):
        bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    np.save(tmp_path / "embeddings/img_emb/img_emb_1.npy", np.array([{}] * 50), allow_pickle=True)
    with pytest.raises(SourceError, match="not an array of numbers"):
        bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    with pytest.raises(SourceError, match="no img_emb"):
        bring("clip_retrieval", tmp_path, tmp_path / "out")


# DIME-FM.


def tsv(path, rows, index=True):
    lines = ["\t".join(row) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    begins = np.cumsum([0, *(len(line.encode()) for line in lines[:-1])])
    if index:
        path.with_suffix(".lineidx").write_text("".join(f"{begin}\n" for begin in begins))


def b64(values):
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def test_an_import_without_its_images_says_so_and_takes_their_root(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "photos/00001.jpg")
    clip_retrieval(tmp_path / "embeddings", key=lambda n: f"{n:05d}.jpg")
    store, _ = bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out", key="image_path")
    with pytest.raises(SourceError, match=r"was imported without its images; where they lie, .* in data\.root"):
        Originals(store, None).open(1)
    assert Originals(store, str(tmp_path / "photos")).open(1)[1:] == (8, 6)
    tsv(tmp_path / "features/0.tsv", [("k0", b64(np.ones(32, np.float32)))])
    nameless, _ = bring("dime_fm", tmp_path / "features", tmp_path / "nameless")
    with pytest.raises(SourceError, match="was imported without the names of its images"):
        Originals(nameless, str(tmp_path / "photos"))


@pytest.mark.parametrize("index", [True, False])
def test_dime_fm(tmp_path, index):
    features = np.random.default_rng(0).standard_normal((2, 40, 64)).astype(np.float32)
    texts = [f'{{"captions": ["caption {n}", "another"]}}' if n % 2 else f"plain é {n}" for n in range(40)]
    for part in range(2):
        tsv(tmp_path / f"features/{part}.tsv", [(f"k{n}", b64(features[part, n])) for n in range(40)], index)
        tsv(tmp_path / f"texts{part}.tsv", [(f"k{n}", text) for n, text in enumerate(texts)], index)
    beside = [str(tmp_path / f"texts{part}.tsv") for part in range(2)]
    store, said = bring("dime_fm", tmp_path / "features", tmp_path / "out", field="text", beside=beside)
    assert not said and len(store.ok_rows) == 80
    np.testing.assert_array_equal(store.read("text", np.arange(80)).numpy(), features.reshape(80, 64))
    assert store.index["key"][41].as_py() == "1/k1"
    assert store.index["text"].to_pylist()[:2] == ["plain é 0", "caption 1"]


def test_dime_fm_compares_the_keys_that_its_own_code_does_not(tmp_path):
    tsv(tmp_path / "features.tsv", [(f"k{n}", b64([n] * 32)) for n in range(4)])
    tsv(tmp_path / "images.tsv", [(f"k{n}", "jpeg") for n in (0, 2, 1, 3)])
    with pytest.raises(SourceError, match=r"row 1 is 'k1', in .*images.tsv 'k2'"):
        bring("dime_fm", tmp_path / "features.tsv", tmp_path / "out", beside=[str(tmp_path / "images.tsv")])


def test_dime_fm_rows_that_are_damaged(tmp_path):
    rows = [("k0", b64([1.0] * 32)), ("k1", "!!!"), ("k2", b64([1.0] * 16)), ("k3",), ("k4", b64([np.inf] * 32))]
    tsv(tmp_path / "features.tsv", rows)
    store, _ = bring("dime_fm", tmp_path / "features.tsv", tmp_path / "out")
    errors = {line["key"]: line["error"] for line in store.failures()}
    assert store.ok_rows.tolist() == [0] and errors.keys() == {"k1", "k2", "k3", "k4"}
    assert "base64" in errors["k1"] and errors["k2"] == "16 numbers, the first row has 32"


# TinyViT.


def test_tinyvit(tmp_path):
    random, folder = np.random.default_rng(0), tmp_path / "logits_top8_epoch3"
    folder.mkdir()
    row = np.dtype([("seed", "<i4"), ("classes", "<i2", 8), ("chances", "<f2", 8)])
    logits = random.standard_normal((50, 1000)).astype(np.float32) * 3
    chances, classes = (value.numpy() for value in torch.from_numpy(logits).softmax(1).topk(8))
    chances[7, 5:] = 0  # as float16 makes of less than 3e-8
    for rank, part in enumerate((slice(0, 30), slice(30, 50))):
        held = np.zeros(part.stop - part.start, row)
        held["seed"], held["classes"], held["chances"] = np.arange(50)[part], classes[part], chances[part]
        held.tofile(folder / f"rank{rank}-values.bin")
        (folder / f"rank{rank}-keys.txt").write_text("".join(f"n01/{n}.JPEG\n" for n in range(50)[part]))
    store, _ = bring("tinyvit", folder, tmp_path / "out", classes=1000, model="clip_vit_large_patch14_22k")
    rows = np.arange(50)
    assert len(store.ok_rows) == 50 and store.index["key"][31].as_py() == "n01/31.JPEG"
    np.testing.assert_array_equal(store.read("classes", rows).numpy(), classes)
    np.testing.assert_allclose(store.read("logits", rows).exp().numpy(), chances, rtol=1e-3, atol=1e-7)
    assert store.read("logits", rows).isfinite().all() and store.read("seed", rows)[:, 0].tolist() == list(range(50))
    assert store.teacher("logits")["classes"] == 1000
    for knobs, told in (({"classes": 500}, 50),):
        wrong, _ = bring("tinyvit", folder, tmp_path / "wrong", **knobs)
        assert 0 < len(wrong.failures()) <= told and "classes beyond 500" in wrong.failures()[0]["error"]
    held["chances"][3], held["chances"][4] = 0.5, np.float16(1.0007 / 8)  # the second is what rounding may make
    held["classes"][5, 1] = held["classes"][5, 0]
    held.tofile(folder / "rank1-values.bin")
    wrong, _ = bring("tinyvit", folder, tmp_path / "no-softmax", classes=1000)
    assert [line["key"] for line in wrong.failures()] == ["n01/33.JPEG", "n01/35.JPEG"]
    (folder / "rank1-values.bin").write_bytes(b"short")
    with pytest.raises(SourceError, match="5 bytes, 20 rows of 36 bytes are wanted"):
        bring("tinyvit", folder, tmp_path / "out2", classes=1000)


# DataCompDR.


def packed(image, text, kind):
    held = {"image_emb": image, "text_emb": text}
    file = io.BytesIO()
    if kind == "npz":
        np.savez(file, **{name: value.numpy() for name, value in held.items()})
        return file.getvalue()
    torch.save({name: value.bfloat16() for name, value in held.items()}, file)
    return gzip.compress(file.getvalue())


def tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["npz", "pth.gz"])
def test_datacompdr(tmp_path, kind):
    torch.manual_seed(0)
    image, text = torch.randn(6, 5, 64), torch.randn(6, 3, 64)
    members = []
    for n in range(6):
        members += [(f"u{n}.{kind}", packed(image[n], text[n], kind)), (f"u{n}.txt", f"caption {n}".encode())]
        members += [(f"u{n}.paug.json", b"{}"), (f"u{n}.syn.json", json.dumps({"syn_text": ["x"]}).encode())]
    tar(tmp_path / "00000000.tar", members)
    store, _ = bring("datacompdr", tmp_path, tmp_path / "out", widths=[48, 16], model="an ensemble")
    dtype = torch.float16 if kind == "npz" else torch.bfloat16
    rows = np.arange(6)
    assert store.fields["imported1/image"].per_view and store.views.count == 5
    assert torch.equal(store.read("imported1/image", rows), image[:, :, :48].to(dtype))
    assert torch.equal(store.read("imported2/image", rows, view=3), image[:, 3, 48:].to(dtype))
    assert torch.equal(store.read("imported2/text", rows), text[:, 0, 48:].to(dtype))
    assert store.index["text"][4].as_py() == "caption 4"
    with pytest.raises(SourceError, match="widths"):
        bring("datacompdr", tmp_path, tmp_path / "other", widths=[60])


def bomb(kind):
    zeros = np.zeros((5, 4_000_000), np.float32)
    file = io.BytesIO()
    if kind == "npz":
        np.savez_compressed(file, image_emb=zeros, text_emb=zeros)
        return file.getvalue()
    return gzip.compress(bytes(100_000_000), 1)


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('run by a file')",)


def evil(kind):
    file = io.BytesIO()
    if kind == "npz":
        with zipfile.ZipFile(file, "w") as archive:
            held = io.BytesIO()
            np.save(held, np.array([Evil()], dtype=object), allow_pickle=True)
            archive.writestr("image_emb.npy", held.getvalue())
        return file.getvalue()
    torch.save({"image_emb": Evil()}, file)
    return gzip.compress(file.getvalue())


@pytest.mark.parametrize("kind", ["npz", "pth.gz"])
def test_datacompdr_members_that_are_damaged_huge_or_evil_are_refused_alone(tmp_path, kind):
    good = packed(torch.randn(5, 64), torch.randn(1, 64), kind)
    bad = {"half": good[: len(good) // 2], "bomb": bomb(kind), "evil": evil(kind), "empty": b""}
    bad["shape"] = packed(torch.randn(4, 64), torch.randn(1, 64), kind)
    tar(tmp_path / "0.tar", [(f"good.{kind}", good), *((f"../../{name}.{kind}", held) for name, held in bad.items())])
    store, _ = bring("datacompdr", tmp_path / "0.tar", tmp_path / "out")
    assert store.ok_rows.tolist() == [0] and {line["key"] for line in store.failures()} == bad.keys()
    assert all("\n" not in line["error"] for line in store.failures())


# All of them.


def test_what_is_no_such_thing_is_one_line(tmp_path):
    for kind in kinds("importers"):
        knobs = {"classes": 1000} if kind == "tinyvit" else {}
        for place in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(DistillkitError) as refusal:
                bring(kind, place, tmp_path / "out", **knobs)
            assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()


def test_an_imported_teacher_agrees_with_another_in_all_that_is_known_of_it(tmp_path):
    clip_retrieval(tmp_path / "embeddings")
    stores = {}
    for name, knobs in {
        "same": {"model": "m/t", "logit_scale": 100.0},
        "less": {"model": "m/t"},
        "other": {"model": "m/u"},
        "unknown": {},
        "scaled": {"model": "m/t", "logit_scale": 50.0},
    }.items():
        stores[name], _ = bring("clip_retrieval", tmp_path / "embeddings", tmp_path / name, **knobs)
    extracted = stores["same"]
    extracted.teachers["imported"] |= {"kind": "openclip", "weights_sha256": "0" * 64, "model": "m/t"}
    for name in ("less", "unknown"):
        refuse_other_teacher(stores[name], "image", stores[name], "text")
    refuse_other_teacher(extracted, "image", stores["less"], "text")
    for name, told in {
        "other": "model: 'm/t' against 'm/u'",
        "unknown": "model: 'm/t' against 'unknown'",
        "scaled": "logit_scale: 100.0 against 50.0",
    }.items():
        with pytest.raises(StoreError, match=told):
            refuse_other_teacher(extracted, "image", stores[name], "text")
        with pytest.raises(StoreError, match="made by different teachers"):
            refuse_other_teacher(stores[name], "image", extracted, "text")


def test_the_command(tmp_path, run_cli):
    clip_retrieval(tmp_path / "embeddings")
    arguments = ("store", "import", "clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    code, out, err = run_cli(*arguments, "--set", 'model="ViT-L-14/openai"')
    assert (code, out.strip()) == (0, str(tmp_path / "out")) and "150 rows, none failed, digest" in err
    code, _, err = run_cli(*arguments, "--set", 'modle="x"')
    assert code == 1 and "did you mean 'model'" in err
    code, _, err = run_cli("store", "import", "clip_retrival", tmp_path, tmp_path / "out2")
    assert code == 1 and "did you mean 'clip_retrieval'" in err
    code, _, err = run_cli(*arguments, "--set", 'model="another"')
    assert code == 1 and "holds another store; move it away" in err


# What is silently taken for something else.


def renamed(folder, names):
    for before, after in names.items():
        (folder / before).rename(folder / after)


def other_half(place):
    renamed(place / "img_emb", {"img_emb_1.npy": "img_emb_2.npy"})


def one_number_twice(place):
    renamed(place / "img_emb", {"img_emb_1.npy": "img_emb_00.npy"})


def narrow(place):
    np.save(place / "img_emb/img_emb_1.npy", np.ones((50, 1), np.float16))


def wide(place):
    np.save(place / "img_emb/img_emb_1.npy", np.ones((50, 33), np.float16))


def raw(place):
    np.save(place / "img_emb/img_emb_1.npy", np.full((50, 32), 2, np.float16))


def table(place, **columns):
    pq.write_table(pa.table(columns), place / "metadata/metadata_1.parquet")


def nameless(place):
    table(place, image_path=[None, *map(str, range(49))])


def without_the_key(place):
    table(place, uid=[1] * 50)


def lists(place):
    table(place, image_path=[str(n) for n in range(50)], caption=[["a"]] * 50)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (other_half, r"img_emb_2\.npy: metadata/ has no part of that number; fetch it, or number both alike"),
        (
            one_number_twice,
            r"img_emb_00\.npy: metadata/ has no part|several parts have one number|img_emb/ has no part",
        ),
        (narrow, r"img_emb_1\.npy: rows of 1 number"),
        (wide, r"img_emb_1\.npy: rows of 33 numbers, those of img_emb_0\.npy have 32"),
        (raw, r"img_emb_1\.npy: not of length 1, as those of img_emb_0\.npy"),
        (nameless, r"metadata_1\.parquet: a row has no image_path"),
        (without_the_key, r"metadata_1\.parquet: no column 'image_path' to name rows by; set key to one of: uid"),
        (lists, r"metadata_1\.parquet: its column caption is list<.*>, text is wanted"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(tmp_path, spoil, told):
    clip_retrieval(tmp_path / "embeddings")
    spoil(tmp_path / "embeddings")
    with pytest.raises(SourceError, match=told) as refusal:
        bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    assert "\n" not in str(refusal.value)


def test_parts_belong_together_by_their_numbers_however_these_are_written(tmp_path):
    images, _ = clip_retrieval(tmp_path / "embeddings", rows=(5,) * 11)
    names = {f"img_emb_{number}.npy": f"part-{number:05d}-of-00011.npy" for number in range(11)}
    renamed(tmp_path / "embeddings/img_emb", names)
    (tmp_path / "embeddings/text_emb").rename(tmp_path / "texts")
    names = {f"metadata_{number}.parquet": f"part-{number:05d}-of-00011.parquet" for number in range(11)}
    renamed(tmp_path / "embeddings/metadata", names)
    store, _ = bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    at = [int(key[8:13]) for key in store.index["key"].to_pylist()]
    assert sorted(at) == list(range(55))
    np.testing.assert_array_equal(store.read("image", np.arange(55)).numpy(), images[at])


def test_what_is_stored_is_as_wide_as_its_widest_part_and_says_whether_it_is_normalised(tmp_path):
    place, rows = tmp_path / "embeddings", {}
    clip_retrieval(place)
    (place / "text_emb").rename(tmp_path / "texts")
    for number, kind in enumerate(("<f2", ">f4")):
        rows[number] = (np.arange(50 * 32).reshape(50, 32) * 3.14159).astype(kind)
        np.save(place / f"img_emb/img_emb_{number}.npy", rows[number][[*range(50)] * (2 - number)])
    store, _ = bring("clip_retrieval", place, tmp_path / "out")
    np.testing.assert_array_equal(store.read("image", np.arange(100, 150)).numpy(), rows[1].astype(np.float32))
    assert "normalised" not in store.teacher("image")


def packed_as(image, text):
    file = io.BytesIO()
    np.savez(file, image_emb=image, text_emb=text)
    return file.getvalue()


def test_datacompdr_takes_no_other_shape_for_the_one_that_is_wanted(tmp_path):
    good, drawn = np.ones((3, 8), np.float16), np.random.default_rng(0).standard_normal((3, 8)).astype(np.float16)
    bad = {
        "one-view": packed_as(drawn[:1], good),
        "one-text": packed_as(drawn, good[0]),
        "no-text": packed_as(drawn, good[:0]),
        "words": packed_as(np.array(["a"]), good),
    }
    tar(
        tmp_path / "0.tar", [("good.npz", packed_as(drawn, good)), *((f"{name}.npz", one) for name, one in bad.items())]
    )
    store, _ = bring("datacompdr", tmp_path / "0.tar", tmp_path / "out")
    assert store.ok_rows.tolist() == [0] and {line["key"] for line in store.failures()} == bad.keys()
    for name, one in bad.items():
        if name != "one-view":
            tar(tmp_path / "first.tar", [(f"{name}.npz", one)])
            with pytest.raises(SourceError, match=f"{name}.npz: damaged, or not safe to load"):
                bring("datacompdr", tmp_path / "first.tar", tmp_path / name)
    tar(tmp_path / "whole.tar", [("good.npz", packed_as(drawn, good))])
    with pytest.raises(SourceError, match="widths"):
        bring("datacompdr", tmp_path / "whole.tar", tmp_path / "negative", widths=[-1, 9])


def test_samples_of_one_name_in_several_folders_of_a_tar_are_all_there(tmp_path):
    members = []
    for number, folder in enumerate("ab"):
        held = packed_as(np.full((2, 8), number, np.float16), np.full((1, 8), number, np.float16))
        members += [(f"{folder}/u1.npz", held), (f"{folder}/u1.txt", folder.encode())]
    tar(tmp_path / "0.tar", members)
    store, _ = bring("datacompdr", tmp_path / "0.tar", tmp_path / "out")
    assert store.index["key"].to_pylist() == ["a/u1", "b/u1"] and store.index["text"].to_pylist() == ["a", "b"]
    assert store.read("text", [0, 1])[:, 0].tolist() == [0, 1]


def test_an_index_of_other_lines_is_refused(tmp_path):
    place = tmp_path / "features.tsv"
    tsv(place, [(f"k{n}", b64([n] * 32)) for n in range(4)])
    begins = place.with_suffix(".lineidx").read_text().split()
    for wrong, told in ((begins[:3], "ends before the last line"), ([0, 7, *begins[2:]], "row 1 begins within a line")):
        place.with_suffix(".lineidx").write_text("".join(f"{begin}\n" for begin in wrong))
        with pytest.raises(SourceError, match=rf"features\.lineidx: {told} of features\.tsv; fetch both again"):
            bring("dime_fm", place, tmp_path / "out")


def all_kinds(folder):
    """An import of each kind: its knobs, where it is from, and a file that it reads."""
    clip_retrieval(folder / "clip")
    tsv(folder / "dime.tsv", [(f"k{n}", b64([n] * 32)) for n in range(4)])
    tar(folder / "0.tar", [("u.npz", packed_as(np.ones((2, 8), np.float16), np.ones((1, 8), np.float16)))])
    (folder / "logits_top1_epoch0").mkdir()
    (folder / "logits_top1_epoch0/rank0-keys.txt").write_text("a\n")
    (folder / "logits_top1_epoch0/rankx-keys.txt").write_text("somebody's own\n")
    (folder / "logits_top1_epoch0/rank0-values.bin").write_bytes(bytes(8))
    return {
        "clip_retrieval": ({}, folder / "clip", folder / "clip/text_emb/text_emb_1.npy"),
        "dime_fm": ({}, folder / "dime.tsv", folder / "dime.tsv"),
        "datacompdr": ({}, folder / "0.tar", folder / "0.tar"),
        "tinyvit": ({"classes": 9}, folder / "logits_top1_epoch0", folder / "logits_top1_epoch0/rank0-values.bin"),
    }


def test_files_that_changed_since_are_told_and_never_mixed_with_those_before(tmp_path):
    for kind, (knobs, place, file) in all_kinds(tmp_path).items():
        store, _ = bring(kind, place, tmp_path / kind, **knobs)
        before = store.digest
        assert bring(kind, place, tmp_path / kind, **knobs)[1] == []
        file.write_bytes(file.read_bytes())  # of another time
        store, said = bring(kind, place, tmp_path / kind, **knobs)
        assert store.digest == before
        assert said == [
            f"{tmp_path / kind}: was made of other files than lie at {place} now, and stays as it is; import them "
            "elsewhere"
        ]
        (tmp_path / kind / "manifest.json").unlink()  # as a kill leaves it
        with pytest.raises(SourceError, match=r"its files are others than when .* was begun") as refusal:
            bring(kind, place, tmp_path / kind, **knobs)
        assert str(place) in str(refusal.value)


def test_a_store_of_an_earlier_version_which_tells_of_no_files_goes_on(tmp_path):
    clip_retrieval(tmp_path / "embeddings")
    bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    log = tmp_path / "out/extract.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps({k: v for k, v in one.items() if k != "files"}) + "\n" for one in lines))
    assert bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")[1] == []
    (tmp_path / "out/manifest.json").unlink()
    assert len(bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")[0].ok_rows) == 150


def test_a_name_that_is_none_of_a_folder_is_one_line(tmp_path):
    for kind, (knobs, place, _) in all_kinds(tmp_path).items():
        for name in ("a/b", "", "..", "views"):
            with pytest.raises(DistillkitError, match="cannot be a teacher's name"):
                bring(kind, place, tmp_path / "out", name=name, **knobs)
