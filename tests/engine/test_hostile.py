"""Corpora that mean harm, through the whole command: a ledger line for each bad sample, and never a grey picture.

What single images do is tested in test_pixels.py, what single archives do in sources/; here all of it is one corpus.
"""

import io
import os
import random
import socket
import struct
import sys
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distillkit.store.reading.reader import FeatureStore
from tests.conftest import EXTRACT
from tests.pixels.test_pillow import encoded, noise, png_header, rotated, sixteen

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

PNG, JPEG = encoded(noise(8, 8)), encoded(noise(8, 8), "JPEG", quality=60)


@pytest.fixture
def extract(tmp_path, teacher_folder, run_cli, monkeypatch):
    """The command on a source; (exit code, stderr). Nothing it does may end in a traceback."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    recipe = tmp_path / "extract.toml"
    recipe.write_text(EXTRACT.format(out=tmp_path / "out", corpus="unused", teacher=teacher_folder))

    def run(source, fields='["image"]', failures=1.0):
        corpus = f'[{{name = "images", source = {source}, fields = {fields}, rows_per_shard = 64, batch_size = 32, '
        corpus += f"max_failures = {failures}}}]"
        code, _, err = run_cli("extract-teacher", recipe, "--set", f"corpora={corpus}")
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def store(tmp_path):
    return lambda: FeatureStore(tmp_path / "out/images")


def ledger(store):
    """Key and reason of every row without features; each reason is one line, each such row NaN."""
    lines = store.failures()
    assert all(line["error"] and "\n" not in line["error"] for line in lines)
    failed = np.setdiff1d(np.arange(len(store)), store.ok_rows)
    assert set(store.index["key"].take(failed).to_pylist()) == {line["key"] for line in lines}
    assert np.isnan(store.read("image", failed).float().numpy()).all()
    assert np.isfinite(store.read("image", store.ok_rows).float().numpy()).all()
    return {line["key"]: line["error"] for line in reversed(lines)}  # the first of a row that failed twice


def same(store, keys, other):
    """Whether the features of these keys are those of `other`, but for the rounding of other neighbours in a batch."""
    rows = store.read("image", store.rows_of([*keys, other])).float().numpy()
    return np.allclose(rows[:-1], rows[-1], rtol=2e-3, atol=1e-4)


def oddities(folder):
    """Good pictures of every odd kind; their keys."""
    palette = noise(8, 8).convert("P")
    made = {
        "one.png": encoded(noise(1, 1)),
        "wide.png": encoded(noise(50, 20_000)),
        "sixteen.png": sixteen(np.arange(64).reshape(8, 8) * 1000),
        "cmyk.jpg": encoded(noise(8, 8).convert("CMYK"), "JPEG"),
        "palette.png": encoded(palette, transparency=3),
        "clear.png": encoded(noise(8, 8).convert("RGBA")),
        "animated.gif": encoded(noise(8, 8), "GIF", save_all=True, append_images=[noise(8, 8, 1)]),
        "animated.webp": encoded(noise(8, 8), "WEBP", save_all=True, append_images=[noise(8, 8, 1)]),
        "rotated.jpg": encoded(noise(8, 12), "JPEG", exif=rotated(6)),
        "really a png.jpg": PNG,
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return set(made)


def attacks(folder):
    """Files that are no pictures; their keys."""
    made = {
        "zero.jpg": b"",
        "zeros.png": bytes(1000),
        "page.jpg": b"<html>not found</html>",
        "bomb.png": png_header(60_000, 60_000),
        "ratio.png": png_header(100_000, 1),
        "huge.bmp": b"BM" + struct.pack("<IHHIIiiHHII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0),
        "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "picture.svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "web.avif": encoded(noise(8, 8), "AVIF") if "AVIF" in Image.SAVE else b"\0\0\0\x18ftypavif",
        "garbage.gif": b"GIF89a" + random.Random(0).randbytes(500),
        "garbage.tif": b"II*\0" + random.Random(1).randbytes(500),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return set(made)


def traps(folder):
    """What is no plain file, and names that are no text; the keys that fail."""
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "one loop.png").symlink_to("other loop.png")
    (folder / "other loop.png").symlink_to("one loop.png")
    (folder / "nowhere.png").symlink_to(folder / "absent")
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.relpath(folder / "socket.png"))
    listening.close()
    failing = {"loop.png", "one loop.png", "other loop.png", "nowhere.png", "pipe.png", "endless.png", "socket.png"}
    if sys.platform == "linux":
        (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(PNG)
        (folder / "io error.png").symlink_to("/proc/self/mem")  # reading it is an I/O error, even for root
        failing |= {r"caf\xe9.png", "io error.png"}
    (folder / "locked.png").write_bytes(PNG)
    (folder / "locked.png").chmod(0)
    return failing if os.geteuid() == 0 else failing | {"locked.png"}


def test_a_folder_of_hostile_files(extract, store, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    good, bad = oddities(folder), attacks(folder) | traps(folder)
    (folder / "whole.png").write_bytes(PNG)
    (folder / "whole.jpg").write_bytes(JPEG)
    cuts = {}
    for content, suffix in ((PNG, "png"), (JPEG, "jpg")):
        for length in range(len(content)):
            cuts[f"cut/{length:04d}.{suffix}"] = f"whole.{suffix}"
    (folder / "cut").mkdir()
    for name in cuts:
        (folder / name).write_bytes((PNG if name.endswith("png") else JPEG)[: int(name[4:8])])

    code, err = extract(f'{{ kind = "folder", root = "{folder}" }}')
    assert code == 0, err
    found = store()
    failed = ledger(found)
    assert {key for key in failed if not key.startswith("cut/")} == bad
    assert good <= set(found.index["key"].to_pylist()) and len(failed) > 300
    # A file that lacks no more than the mark of its end is the whole picture; nothing between it and a refusal.
    for suffix in ("png", "jpg"):
        whole = [key for key in cuts if key.endswith(suffix) and key not in failed]
        assert len(whole) < 25 and (not whole or same(found, whole, f"whole.{suffix}"))
    assert "no plain file" in failed["pipe.png"] and "no plain file" in failed["endless.png"]
    assert "3600000000 pixels" in failed["bomb.png"] and "not an image" in failed["phone.heic"]

    code, err = extract(f'{{ kind = "folder", root = "{folder}" }}', failures=0.1)
    assert code == 1 and "more than max_failures = 0.1" in err.splitlines()[-1]


def member(name, content=PNG, **facts):
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for fact, value in facts.items():
        setattr(made, fact, value)
    return made, content


def test_tars_that_reach_outside(extract, store, tmp_path):
    (tmp_path / "outside.png").write_bytes(PNG)
    folder = tmp_path / "corpus"
    folder.mkdir()
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "h.png", "GNU.sparse.realsize": "9"}
    with tarfile.open(folder / "0.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for made, content in (
            member("good.png"),
            member("../outside.png"),
            member(f"{tmp_path}/outside.png"),
            member("a/../../outside.png"),
            member("soft.png", b"", type=tarfile.SYMTYPE, linkname="../outside.png"),
            member("hard.png", b"", type=tarfile.LNKTYPE, linkname="../outside.png"),
            member("device.png", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
            member("pipe.png", b"", type=tarfile.FIFOTYPE),
            member("sparse.png", b"1\n0\n9\n".ljust(512, b"\0") + PNG, pax_headers=sparse),
            member("empty.png", b""),
            member("nul\0inside.png"),
            member("also good.png"),
        ):
            tar.addfile(made, io.BytesIO(content))
    code, err = extract(f'{{ kind = "webdataset", root = "{folder}" }}')
    assert code == 0, err
    failed = ledger(store())
    assert {"../outside", f"{tmp_path}/outside", "a/../../outside", "soft", "hard", "device", "pipe"} <= set(failed)
    assert "leaves its archive; refused" in failed["../outside"] and "is a link; refused" in failed["soft"]
    assert not {"good", "also good"} & set(failed) and "empty" in failed
    assert not (folder / "outside.png").exists()


def test_tables_with_hostile_rows(extract, store, tmp_path):
    (tmp_path / "corpus").mkdir()
    for name in ("a.png", "b.png", 'quo"te.png'):
        (tmp_path / "corpus" / name).write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    rows = [
        "title\tfilepath",
        "fine\ta.png",
        "only one cell",
        "\t\t\t\t",
        '"an open quote\tb.png',
        'a "quoted" name\tquo"te.png',
        "a nul \0 in the text\tabsent.png",
        "a nul in the path\ta\0.png",
        "outside\t../secret.png",
        "absolute\t/etc/passwd",
        "no path\t",
        "again\ta.png",
        "x" * 100_000 + "\tlong.png",
    ]
    (tmp_path / "corpus/pairs.tsv").write_text("\n".join(rows))
    code, err = extract(f'{{ kind = "csv", file = "{tmp_path}/corpus/pairs.tsv" }}', '["image", "text"]')
    assert code == 0 and "left out: 1 more caption of images that came before" in err
    failed = ledger(store())
    lines = {f"pairs.tsv:{number}" for number in (3, 4, 8, 9, 10, 11)}
    assert set(failed) == lines | {"absent.png", "long.png"}
    assert store().index["text"].to_pylist()[3:5] == ['"an open quote', 'a "quoted" name']
    assert "leaves" in failed["pairs.tsv:9"] and "1 cell, " in failed["pairs.tsv:3"]


def test_lines_of_text_that_are_damaged_say_so(extract, store, tmp_path, run_cli):
    lines = ['{"text": "a cat"}', '{"text": "cut off', '{"text": ["a", 3]}', '{"text": "a nul \\u0000"}', "[" * 100_000]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    code, err = extract(f'{{ kind = "jsonl", file = "{tmp_path}/texts.jsonl" }}', '["text"]')
    assert code == 0, err
    told = {line["key"]: line["error"] for line in store().failures()}
    assert set(told) == {"texts.jsonl:2", "texts.jsonl:3", "texts.jsonl:5"}
    assert "Invalid control character" in told["texts.jsonl:2"] and "something else than texts" in told["texts.jsonl:3"]


def empty_tar(path):
    tarfile.open(path, "w").close()


EMPTY = {
    "folder": lambda folder: f'{{ kind = "folder", root = "{folder}" }}',
    "csv": lambda folder: (
        (folder / "t.tsv").write_text("title\tfilepath\n") and f'{{ kind = "csv", file = "{folder}/t.tsv" }}'
    ),
    "csv without a byte": lambda folder: (folder / "t.tsv").touch() or f'{{ kind = "csv", file = "{folder}/t.tsv" }}',
    "no tars": lambda folder: f'{{ kind = "webdataset", root = "{folder}" }}',
    "a tar of nothing": lambda folder: empty_tar(folder / "0.tar") or f'{{ kind = "webdataset", root = "{folder}" }}',
    "a tar of no byte": lambda folder: (folder / "0.tar").touch() or f'{{ kind = "webdataset", root = "{folder}" }}',
    "parquet": lambda folder: (
        pq.write_table(pa.table({"image": pa.array([], pa.binary())}), folder / "0.parquet")
        or f'{{ kind = "parquet", root = "{folder}" }}'
    ),
    "jsonl": lambda folder: (
        (folder / "t.jsonl").write_text("\n\n") and f'{{ kind = "jsonl", file = "{folder}/t.jsonl" }}'
    ),
    "text lines": lambda folder: (
        (folder / "t.txt").write_text(" \n\n") and f'{{ kind = "textlines", file = "{folder}/t.txt" }}'
    ),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_empty_corpora_are_told_in_one_line(kind, extract, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    code, err = extract(EMPTY[kind](folder), '["text"]' if kind in ("jsonl", "text lines") else '["image"]')
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(told) == 1 and str(folder) in told[0]
