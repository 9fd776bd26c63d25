"""Corpora as their manifests say that they lie, in the small: three classes, pictures of a few pixels."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from distillkit.corpora import manifests
from distillkit.corpora.facts import Facts
from distillkit.corpora.split import split

CLASSES = ("tench", "goldfish", "great white shark")  # as open_clip's list of ImageNet begins
IMAGES = 6  # of each part


def lay(name, root):
    """Make the corpus `name` below `root`."""
    if name in OWN:
        OWN[name](root)
        return
    for part in Facts.model_validate(manifests.load(name)).parts:
        knobs = {
            key: value.replace("{root}", str(root)) if isinstance(value, str) else value
            for key, value in part.source.items()
        }
        KINDS[knobs["kind"]](knobs, root)


def picture(number=0, ending="jpg"):
    made = io.BytesIO()
    colour = [(200, 30, 30), (30, 200, 30), (30, 30, 200)][number % 3]
    Image.new("RGB", (8, 8), tuple(c + number for c in colour)).save(
        made, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[ending]
    )
    return made.getvalue()


def file(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tar(path, samples):
    """`samples`: by name of member, its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as made:
        for name, content in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))


def webdataset(knobs, root):
    samples = {}
    for number in range(IMAGES):
        samples[f"s{number:07d}.webp"] = picture(number, "webp")
        if "label" in knobs:
            samples[f"s{number:07d}.cls"] = str(number % 3).encode()
        else:
            samples[f"s{number:07d}.txt"] = f"picture {number}\nthe same as {number}".encode()
    tar(Path(knobs["root"]) / "0.tar", samples)


def class_prompts(knobs, root):
    if not Path(knobs["file"]).exists() and "/" in knobs["file"]:
        file(knobs["file"], "".join(f"{one}\n" for one in CLASSES).encode())
    if "templates_file" in knobs:
        file(knobs["templates_file"], b"a {c}\n")


def folder(knobs, root):
    for number in range(IMAGES):
        inside = f"class_{number % 3}/" if knobs.get("classes") else ""
        file(Path(knobs["root"]) / inside / f"{number:06d}.jpg", picture(number))


def csv(knobs, root):
    """OOD's: one split of four classes makes all the tables."""
    if not Path(knobs["file"]).exists():
        for number in range(16):
            file(root / f"class_{number % 4}" / f"{number:03d}.jpg", picture(number))
        split(str(root))


def jsonl(knobs, root):
    lines = []
    for number in range(IMAGES):
        place = f"img/{Path(knobs['file']).stem}_{number}.png"
        file(root / place, picture(number, "png"))
        lines.append(json.dumps({knobs["image_field"]: place, "label": number % 2, "text": "words"}))
    file(knobs["file"], "\n".join(lines).encode())


def parquet(knobs, root):
    rows = [{"bytes": picture(number), "path": f"{number}.jpg"} for number in range(2)]
    table = {"image": rows, "caption": [["one", "two"]] * 2, "filename": ["1.jpg", "2.jpg"]}
    Path(knobs["root"]).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), Path(knobs["root"]) / "test-00000-of-00009.parquet")


def pairs(path):
    tar(path, {"000000000.jpg": picture(), "000000000.txt": b"a cat", "000000000.json": b"{}"})


def ade20k(root):
    for part, name in (("training", "train"), ("validation", "val")):
        for number in range(IMAGES):
            stem = f"{part}/ADE_{name}_{number:08d}"
            file(root / f"images/{stem}.jpg", picture(number))
            numbers = np.full((8, 8), number % 3, np.uint8)  # 0 is no class
            numbers[:, 4:] = 150
            numbered(root / f"annotations/{stem}.png", numbers)


def nyu_depth(root):
    for part in ("train", "test"):
        for number in range(IMAGES):
            file(root / f"{part}/images/{number:04d}.png", picture(number, "png"))
            numbered(root / f"{part}/depths/{number:04d}.png", np.full((8, 8), 1000 + 500 * number, np.uint16))


def numbered(path, numbers):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers).save(path)


def voc2007(root):
    for number in range(2 * IMAGES):
        file(root / f"JPEGImages/{number:06d}.jpg", picture(number))
    for column, name in enumerate(("aeroplane", "bicycle", "bird")):
        for part, rows in (("trainval", range(IMAGES)), ("test", range(IMAGES, 2 * IMAGES))):
            lines = (f"{n:06d} {' 1' if n % 3 == column else '-1'}\n" for n in rows)
            file(root / f"ImageSets/Main/{name}_{part}.txt", "".join(lines).encode())
    file(root / "classnames.txt", b"aeroplane\nbicycle\nbird\n")


def hateful_memes(root):
    for part in ("dev", "train"):
        jsonl({"file": str(root / f"{part}.jsonl"), "image_field": "img"}, root)
    file(root / "classnames.txt", b"meme\nhatespeech meme\n")
    file(root / "templates.txt", b"a {c}\n")


def coco(root):
    file(root / "train2014/COCO_train2014_000000000009.jpg", picture())
    file(root / "val2014/COCO_val2014_000000000042.jpg", picture())
    file(root / "captions.jsonl", b'{"image": "val2014/COCO_val2014_000000000042.jpg", "text": ["one", "two"]}\n')
    webdataset({"root": str(root / "test")}, root)


def imagenet1k(root):
    for part in ("train", "val"):
        for number in range(IMAGES):
            file(root / f"{part}/n0144076{number % 3}/{number}.JPEG", picture(number))


KINDS = {one.__name__: one for one in (webdataset, class_prompts, folder, csv, jsonl, parquet)}
OWN = {
    "cc3m": lambda root: pairs(root / "00000.tar"),
    "cc12m": lambda root: pairs(root / "00000.tar"),
    "gcc15m": lambda root: [pairs(root / f"{one}/00000.tar") for one in ("cc3m", "cc12m")],
    "yfcc14m": lambda root: pairs(root / "00000.tar"),
    **{one.__name__: one for one in (ade20k, nyu_depth, voc2007, hateful_memes, coco, imagenet1k)},
}
