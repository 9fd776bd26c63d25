"""distillkit embed: pictures and texts to npy, Parquet and stores, by a student and by the teacher of a store."""

import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import distillkit
from distillkit.errors import DistillkitError
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from tests.embedding.conftest import photos, runs  # noqa: F401
from tests.small_disk import no_file_above


@pytest.fixture
def paths(photos):  # noqa: F811
    return sorted(photos.rglob("*.png"), key=lambda path: str(path.relative_to(photos)))


def test_a_folder_becomes_an_array_with_its_keys(runs, photos, paths, tmp_path):  # noqa: F811
    (photos / "sea/broken.png").write_bytes(b"x")
    made = distillkit.embed(runs["image"], photos, out=tmp_path / "v.npy")
    wanted = distillkit.load_student(runs["image"]).embed_images(paths).numpy()
    assert np.allclose(np.load(made.images), wanted, rtol=1e-4, atol=1e-5) and made.rows == 12
    keys = (tmp_path / "v.keys.txt").read_text().splitlines()
    assert keys == [str(path.relative_to(photos)) for path in paths]
    assert made.told == tmp_path / "v.broken.tsv" and list(made.broken) == ["sea/broken.png"]
    assert made.told.read_text().startswith("sea/broken.png\tnot an image")
    (photos / "sea/broken.png").unlink()
    again = distillkit.embed(runs["image"], photos, out=tmp_path / "v.npy", normalise=True)
    assert np.allclose(np.linalg.norm(np.load(again.images), axis=1), 1, atol=1e-5)
    assert again.told is None and not made.told.exists()


def test_an_array_and_a_table_of_one_name_each_tell_their_broken_ones(runs, photos, tmp_path):  # noqa: F811
    """One file told of both: a table without broken ones took away what was told of the array's."""
    (photos / "sea/broken.png").write_bytes(b"x")
    array = distillkit.embed(runs["image"], photos, out=tmp_path / "v.npy")
    distillkit.embed(runs["image"], photos, out=tmp_path / "w.npy")
    table = distillkit.embed(runs["image"], photos, out=tmp_path / "v.parquet")
    assert table.told == tmp_path / "v.parquet.broken.tsv" and table.told.read_text() == array.told.read_text()
    (photos / "sea/broken.png").unlink()
    assert distillkit.embed(runs["image"], photos, out=tmp_path / "v.parquet").told is None
    assert not table.told.exists() and array.told.read_text().startswith("sea/broken.png\t")
    (tmp_path / "v.npy").unlink()  # as older versions named that of a table
    distillkit.embed(runs["image"], photos, out=tmp_path / "v.parquet")
    assert not array.told.exists() and (tmp_path / "w.broken.tsv").exists()


def test_pictures_and_texts_become_two_tables(runs, photos, tmp_path):  # noqa: F811
    (tmp_path / "texts.txt").write_text("a circle\n\na red bicycle\n")
    made = distillkit.embed(runs["image"], photos, texts=tmp_path / "texts.txt", out=tmp_path / "v.parquet")
    images, texts = pq.read_table(made.images), pq.read_table(made.texts)
    assert images.column_names == ["key", "vector"] and len(images) == made.rows == 12
    assert made.texts == tmp_path / "v.texts.parquet" and made.text_rows == 2
    assert texts["text"].to_pylist() == ["a circle", "a red bicycle"]
    wanted = distillkit.load_student(runs["image"]).embed_texts(texts["text"].to_pylist())
    assert np.allclose(np.stack(texts["vector"].to_numpy()), wanted.numpy(), rtol=1e-4, atol=1e-5)
    alone = distillkit.embed(runs["pair"], texts=tmp_path / "texts.txt", out=tmp_path / "t.npy")
    assert alone.texts == tmp_path / "t.npy" and alone.images is None and np.load(alone.texts).shape == (2, 32)


@pytest.mark.parametrize("who", ["pair", "image"])
def test_a_store_like_any_other_is_made(runs, photos, paths, tmp_path, who):  # noqa: F811
    """Texts of a student without a text tower are its teacher's, and the store says so."""
    (photos / "sea/broken.png").write_bytes(b"x")
    (tmp_path / "texts.txt").write_text("a circle\na red bicycle\n")
    made = distillkit.embed(runs[who], photos, texts=tmp_path / "texts.txt", out=tmp_path / "vectors")
    images, texts = FeatureStore(tmp_path / "vectors/images"), FeatureStore(tmp_path / "vectors/texts")
    assert not verify(images.path) and images.teacher("image")["kind"] == "run"
    assert texts.teacher("text")["kind"] == ("run" if who == "pair" else "openclip")
    rows = images.rows_of([str(path.relative_to(photos)) for path in paths])
    wanted = distillkit.load_student(runs[who]).embed_images(paths)
    torch.testing.assert_close(images.read("image", rows).float(), wanted, rtol=2e-3, atol=2e-3)
    assert (made.rows, made.text_rows, list(made.broken)) == (12, 2, ["sea/broken.png"])
    assert [line["key"] for line in images.failures()] == ["sea/broken.png"]


def test_the_teacher_of_a_store_embeds_too(toy_stores, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    place = toy_stores / "out/images"
    made = distillkit.embed(place, toy_stores / "corpus/images", out=tmp_path / "v.npy")
    store, keys = FeatureStore(place), (tmp_path / "v.keys.txt").read_text().splitlines()
    rows = store.rows_of([f"images/{key}" for key in keys])
    assert np.allclose(np.load(made.images), store.read("image", rows).float().numpy(), rtol=2e-3, atol=2e-3)


def test_single_pictures_lists_and_stdin(runs, paths, tmp_path, monkeypatch):  # noqa: F811
    distillkit.embed(runs["image"], paths[0], out=tmp_path / "one.npy")
    assert (tmp_path / "one.keys.txt").read_text() == f"{paths[0]}\n"
    names = "".join(f"{path}\n" for path in (*paths[3:5], tmp_path / "gone.png"))
    (tmp_path / "names.txt").write_text(names)
    made = distillkit.embed(runs["image"], tmp_path / "names.txt", out=tmp_path / "list.npy")
    assert made.rows == 2 and made.broken == {str(tmp_path / "gone.png"): "no such file"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    distillkit.embed(runs["image"], "-", out=tmp_path / "stdin.npy")
    assert np.array_equal(np.load(tmp_path / "stdin.npy"), np.load(tmp_path / "list.npy"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing", "photos", "--out", "v.npy"], "nothing: is no run folder; make one with"),
        (["RUN", "nowhere", "--out", "v.npy"], "nowhere: no such file or folder; name a folder of pictures"),
        (["RUN", "empty", "--out", "v.npy"], "empty: no pictures in it (0 samples taken)"),
        (["RUN", "texts.csv", "--out", "v.npy"], "texts.csv: is neither a picture nor a .txt"),
        (["RUN", "photos", "--out", "v.csv"], "v.csv: .csv is no format of vectors; end the name in .npy or .parquet"),
        (["RUN", "--out", "v.npy"], "neither pictures nor texts"),
        (["RUN", "photos", "--normalise", "--out", "store"], "a store holds raw vectors; leave --normalise out"),
        (["RUN", "photos/sea/000.png", "--out", "store"], "a store is made of a folder"),
        (["RUN", "photos", "--texts", "gone.txt", "--out", "v.npy"], "gone.txt: cannot be read"),
        (["RUN", "--texts", "blank.txt", "--out", "v.npy"], "blank.txt: no texts in it"),
        (["RUN", "blank.txt", "--out", "v.npy"], "blank.txt: names no picture"),
        (["RUN", "https://example.org/photos", "--out", "v.npy"], "is a URL; copy it to a folder here"),
        (["RUN", "photos", "--device", "cuda:99", "--out", "v.npy"], "device = 'cuda:99'"),
        (["RUN", "photos", "--out", "/dev/full/v.npy"], "/dev/full"),
    ],
)
def test_what_cannot_be_embedded_is_one_line(runs, photos, run_cli, monkeypatch, arguments, told):  # noqa: F811
    monkeypatch.chdir(photos.parent)
    (photos.parent / "empty").mkdir()
    (photos.parent / "texts.csv").write_text("a\n")
    (photos.parent / "blank.txt").write_text("\n\n")
    code, out, err = run_cli("embed", *(runs["image"] if word == "RUN" else word for word in arguments))
    assert (code, out) == (1, "") and told in err and err.startswith("error: ") and err.count("\n") == 1, err


def test_the_command_prints_where_vectors_are(runs, photos, run_cli, tmp_path):  # noqa: F811
    code, out, err = run_cli("embed", runs["image"], photos, "--out", tmp_path / "v.npy")
    assert code == 0 and out == f"{tmp_path}/v.npy\n" and f"{tmp_path}/v.npy: 12 pictures\n" in err


def test_no_room_is_one_line(runs, photos, tmp_path, monkeypatch):  # noqa: F811
    import errno

    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("distillkit.system.npy.save", full)
    with pytest.raises(DistillkitError, match="no space left on the disk"):
        distillkit.embed(runs["image"], photos, out=tmp_path / "v.npy")
    assert not list(tmp_path.glob("v.*npy*"))


@pytest.mark.parametrize("form", [".npy", ".parquet"])
@pytest.mark.parametrize("what", ["pictures", "texts"])
def test_a_disk_that_is_full_leaves_the_vectors_of_before_with_their_names(runs, photos, tmp_path, run_cli, form, what):  # noqa: F811
    """For real: no file may become larger than some bytes, which the vectors of more pictures or texts do."""
    pictures = sorted(photos.rglob("*.png"))
    (tmp_path / "texts.txt").write_text("a circle\n")
    (tmp_path / "list.txt").write_text(f"{pictures[0]}\n")
    asked = ["--texts", tmp_path / "texts.txt"] if what == "texts" else [tmp_path / "list.txt"]
    command = ["embed", runs["pair"], *asked, "--out", tmp_path / f"v{form}"]
    assert run_cli(*command)[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("v.*")}
    (tmp_path / "texts.txt").write_text("".join(f"a circle of {number}\n" for number in range(400)))
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in (tmp_path / "gone.png", *pictures * 20)))
    with no_file_above(3_000):
        code, _, err = run_cli(*command)
    assert code == 1 and f"v{form}" in err.splitlines()[-1] and "Errno None" not in err, err
    assert {path.name: path.read_bytes() for path in tmp_path.glob("v.*") if path.suffix != ".lock"} == before


@pytest.mark.usefixtures("every_step")
def test_of_a_list_and_of_texts_it_is_told_how_far_they_are(runs, paths, tmp_path, monkeypatch):  # noqa: F811
    lines, said = "".join(f"{path}\n" for path in paths), []
    (tmp_path / "list.txt").write_text(lines)
    (tmp_path / "texts.txt").write_text("a circle\na red bicycle\na square\n")
    asked = {"texts": tmp_path / "texts.txt", "out": tmp_path / "v.npy", "batch_size": 2, "say": said.append}
    distillkit.embed(runs["pair"], str(tmp_path / "list.txt"), **asked)
    assert any(": texts 2/3  " in line and line.endswith(" left") for line in said)
    assert any(line.startswith(f"{tmp_path / 'list.txt'}: pictures 2/12  ") for line in said)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    distillkit.embed(runs["pair"], "-", **asked)
    assert any(line.startswith("stdin: pictures 10/12  ") for line in said)


def test_names_that_are_no_utf_8_are_keys_as_elsewhere(runs, photos, paths, run_cli, tmp_path, monkeypatch):  # noqa: F811
    """A picture, the folder around it, the list's place and what is written may all be called so; a store not."""
    monkeypatch.chdir(tmp_path)
    one, folder = os.fsdecode(b"bad\xff.png"), os.fsdecode(b"all\xfe")
    shutil.copy(paths[0], one)
    shutil.copytree(photos, folder)
    shutil.copy(paths[1], f"{folder}/{one}")
    assert run_cli("embed", runs["image"], one, "--out", "one.npy")[0] == 0
    assert run_cli("embed", runs["image"], one, "--out", "one.parquet")[0] == 0
    assert Path("one.keys.txt").read_text() == "bad\\xff.png\n"
    assert pq.read_table("one.parquet")["key"].to_pylist() == ["bad\\xff.png"]
    code, _, err = run_cli("embed", runs["image"], folder, "--out", os.fsdecode(b"v\xff.parquet"))
    assert code == 0 and "13 pictures" in err
    assert (
        "bad\\xff.png" in pq.read_table(io.BytesIO(Path(os.fsdecode(b"v\xff.parquet")).read_bytes()))["key"].to_pylist()
    )
    for words in ((photos, "--out", os.fsdecode(b"store\xff")), (folder, "--out", "store")):
        code, out, err = run_cli("embed", runs["image"], *words)
        assert (code, out) == (1, "") and "write .npy or .parquet" in err and err.count("\n") == 1
