"""Every command of the command line, found in the app, with arguments that work in a small world."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer.main
from PIL import Image

from distillkit import cli

EXTRACT = """
name = "toy"
out = "out"
[teacher]
kind = "openclip"
model = "local-dir:teacher"
[[corpora]]
name = "images"
source = { kind = "csv", file = "corpus/pairs.tsv" }
fields = ["image", "text"]
[[corpora]]
name = "texts"
source = { kind = "textlines", file = "corpus/texts.txt" }
fields = ["text"]
"""
TRAIN = """
name = "run"
out = "run"
[data]
images = "out/images"
texts = "out/texts"
batch_size = 16
[student]
kind = "timm_image"
model = "mobilenetv3_small_050"
image_size = 32
embed_dim = 32
[[losses]]
kind = "affinity"
[optim]
epochs = 1
[[evals]]
kind = "retrieval"
store = "out/images"
"""
MINE = """
queries = "out/images"
corpus = "out/texts"
k = 4
held_out = 10
"""
SELECT = """
images = "out/images"
texts = "out/texts"
out = "grounded"
"""
# Of each command, arguments with which it ends well.
WORKING = {
    "data check": ["imagenet1k", "--root", "corpus"],
    "data list": [],
    "data prepare": ["demo", "--quick"],
    "data show": ["food101"],
    "data split": ["classed"],
    "extract-teacher": ["extract.toml"],
    "mine-neighbours": ["mine.toml"],
    "select-texts": ["select.toml"],
    "train-student": ["train.toml"],
    "evaluate": ["run"],
    "compare": ["run", "--teacher", "--dots", "12"],
    "show": ["out/images", "--out", "shown.html"],
    "atlas": ["run", "--most", "12"],
    "claims": ["claims.toml", "--plan"],
    "suggest-scale": ["out/images", "--texts", "out/texts"],
    "embed": ["run", "samples", "--out", "vectors.npy"],
    "search": ["run", "a red square", "--in", "samples"],
    "export": ["run", "--to", "timm", "--samples", "samples", "--out", "left"],
    "push": ["run", "me/toy", "--dry-run"],
    "bench-model": ["run", "--runtime", "torch", "--batch", "2", "--no-memory"],
    "recipe check": ["train.toml"],
    "recipe list": ["."],
    "recipe new": ["drafted.toml", "--images", "out/images", "--texts", "out/texts", "--goal", "image-tower"],
    "recipe copy": ["demo/dime_fm", "copied"],
    "recipe explain": ["affinity"],
    "store info": ["out/images"],
    "store verify": ["out/images"],
    "store precision": ["out/images"],
    "store failures": ["out/images"],
    "store merge": ["merged", "out/images", "out/images2"],
    "store import": ["clip_retrieval", "embeddings", "imported"],
    "store view": ["out/images", "view", "--rows", "0:9"],
    "store export": ["out/images", "exported"],
    "store append": ["extract.toml"],
    "store push": ["out/images", "me/toy", "--dry-run"],
}
# What makes a command that has been done already do its work once more.
ANEW = {
    "extract-teacher": ["--set", 'out="again"'],
    "mine-neighbours": ["--set", 'name="again"'],
    "train-student": ["--set", 'out="again"'],
    "evaluate": ["--set", "evals.0.ks=[1, 2]"],
}
CLAIMS = """
name = "toy"
title = "Toy"
paper = "https://example.org"
seeds = [0]
[[evals]]
kind = "retrieval"
name = "all"
store = "out/images"
[[arms]]
name = "a"
recipe = "train.toml"
[[arms]]
name = "b"
recipe = "train.toml"
set = ["optim.lr=1e-3"]
[[claims]]
text = "a beats b"
on = "all.R@1"
better = [["a", "b"]]
"""


def all_commands(group=None, path=()):
    """Name and click command of each, also of one that is new."""
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def make_world(folder, corpus, teacher, run_cli):
    """Fill `folder`, the current one, so that WORKING works there: a corpus, a teacher, recipes, stores, a run."""
    shutil.copytree(corpus, folder / "corpus")
    shutil.copytree(teacher, folder / "teacher")
    for name, text in (("extract", EXTRACT), ("train", TRAIN), ("mine", MINE), ("select", SELECT), ("claims", CLAIMS)):
        (folder / f"{name}.toml").write_text(text)
    for command in ("extract-teacher", "mine-neighbours", "train-student", "evaluate"):
        code, _, err = run_cli(*command.split(), *WORKING[command])
        assert code == 0, err
    shutil.copytree(folder / "out/images", folder / "out/images2")
    (folder / "samples").mkdir()
    for number in range(256):
        Image.new("RGB", (32, 32), (number, 255 - number, number // 2)).save(folder / f"samples/{number}.png")
    for number in range(16):
        place = folder / f"classed/{'ab'[number % 2]}/{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(place)
    code, _, err = run_cli("export", "run", "--to", "timm", "--samples", "samples")
    assert code == 0, err
    (folder / "embeddings/img_emb").mkdir(parents=True)
    (folder / "embeddings/metadata").mkdir()
    np.save(folder / "embeddings/img_emb/img_emb_0.npy", np.ones((3, 8), np.float16))
    pq.write_table(pa.table({"image_path": ["a", "b", "c"]}), folder / "embeddings/metadata/metadata_0.parquet")
