"""What an extraction would take, in numbers that can be done in the head; and --plan leaves everything as it is."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from distillkit.engine import estimate
from distillkit.engine.estimate import Estimate, Setting
from distillkit.engine.job import Job, Teacher
from distillkit.engine.probe import Probe
from distillkit.recipe import Component, Corpus
from tests.teachers.test_preprocess import KINDS

IMAGENET = 1_281_167
# 100 images/s decoded, 50 views/s forward, 1 GB/s written, 0.1 GB/s read.
PROBE = Probe(samples=200, failed=0, decode=0.01, view=0.02, text=0.0, write=1e9, read=1e8)


def job(fields, **corpus):
    fields_given = {"cls": [1024], "patches": [256, 1024], "text": [768], "image": [768]}
    network = SimpleNamespace(fields=fields_given, preprocess=KINDS["shortest"][0])
    source = Component(kind="folder", root="x")
    asked = tuple(("dino", name) for name in fields)
    made = Corpus(name="images", source=source, fields=list(fields), **corpus)
    return Job(Path("stores/images"), made, {"dino": Teacher(network, {})}, asked, 2)


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """16 GB are free."""
    monkeypatch.setattr(estimate, "available_memory", lambda: 16e9)


def test_patch_tokens_of_imagenet_are_told_first():
    told = estimate.warnings(job(["cls", "patches"]), IMAGENET, free=10**12)
    assert told == [
        "dino/patches: patch tokens of 1,281,167 rows take 672 GB (524,288 bytes a row); "
        "teacher.grid = 4 keeps their means over 4 x 4 cells in 42 GB"
    ]
    assert estimate.warnings(job(["cls"]), IMAGENET, free=10**12) == []


def test_what_does_not_fit_is_told():
    (full,) = estimate.warnings(job(["cls"]), IMAGENET, free=10**9)
    assert full == "stores/images: needs 2.62 GB, free are 1 GB; it would stop when the disk is full"
    shards = estimate.warnings(job(["patches"], rows_per_shard=65_536), 100_000, free=10**12)
    assert shards == [
        "stores/images: two shards of 65,536 rows take 68.7 GB of memory, free are 16 GB; "
        "lower rows_per_shard, or leave it out"
    ]
    assert estimate.warnings(job(["patches"]), 100_000, free=10**12) == []  # 1,024 rows in a shard


def test_rows_per_shard_follow_the_size_of_a_row():
    assert job(["image"]).rows_per_shard == 65_536
    assert job(["patches"]).rows_per_shard == 1024  # half a GiB
    assert job(["patches"], rows_per_shard=64).rows_per_shard == 64


@pytest.mark.parametrize(
    ("setting", "want"),
    [
        # The forward sets the pace: 1.28 M x 0.02 s; it has paid after as many epochs as views.
        (Setting(1, "float16", 0), Estimate(2048, 2048 * IMAGENET, 0.02 * IMAGENET, 1)),
        # Four views are kept with five numbers each that say how they were cut.
        (Setting(4, "float32", 0), Estimate(16_464, 16_464 * IMAGENET, 0.08 * IMAGENET, 5)),
        # 526 kB take 5.3 ms to read: of each epoch 14.7 ms of 20 are saved.
        (Setting(1, "float16", 256), Estimate(526_336, 526_336 * IMAGENET, 0.02 * IMAGENET, 2)),
        (Setting(1, "float32", 1024), Estimate(4_198_400, 4_198_400 * IMAGENET, 0.02 * IMAGENET, None)),
    ],
)
def test_the_arithmetic(setting, want):
    made = estimate.estimate(job(["cls", "patches"]), IMAGENET, PROBE, setting)
    assert made == Estimate(want.row_bytes, want.all_bytes, pytest.approx(want.seconds), want.epochs)


def test_the_recipes_own_line_is_what_its_fields_take():
    mixed = job(["cls", "image"], dtypes={"cls": "int8"}, views={"count": 2})
    made = estimate.estimate(mixed, 1000, PROBE)
    assert made.row_bytes == 2 * (1024 + 2 * 768 + 5 * 4) == sum(field.row_bytes for field in mixed.fields.values())
    said = estimate.report(mixed, 1000, PROBE, free=10**12)
    assert "  this recipe: 5.16 MB, 0:00:40" in said
    behind = said[said.index("  this recipe: 5.16 MB, 0:00:40") + 3 :]  # behind words and a head
    rows = [line.split() for line in behind]
    assert rows[0][:5] == ["2", "this", "one", "0", "5,160"]
    assert ["2", "float16", "0", "7,208"] in [row[:4] for row in rows]


def test_one_teacher_is_one_and_two_are_several():
    one = job(["cls"])
    two = replace(one, teachers=one.teachers | {"other": one.teachers["dino"]})
    told = [
        next(line for line in estimate.report(asked, 1000, PROBE, 10**12) if "pace" in line) for asked in (one, two)
    ]
    assert told[0].endswith("the teacher 50.0 images/s; the teacher sets the pace")
    assert told[1].endswith("the teachers 50.0 images/s; the teachers set the pace")


def test_the_corpora_of_a_recipe_are_added_up():
    made = [Estimate(10, 10_000, 30.0, 1), Estimate(10, 5_000, 40.0, None)]
    assert estimate.together(made) == "all 2 corpora: 15 kB, 0:01:10"


def test_a_decoder_that_is_slow_sets_the_pace():
    slow = Probe(200, 0, decode=0.1, view=0.02, text=0.0, write=1e9, read=1e8)
    made = estimate.estimate(job(["cls"]), 1000, slow, Setting(1, "float16", 0))
    assert made.seconds == pytest.approx(100) and made.epochs == 5


def test_settings_begin_with_the_recipes_own_and_repeat_none():
    listed = list(estimate.settings(job(["cls", "patches"], views={"count": 3})))
    assert listed[0] == Setting(3, "float16", 256) and len(set(listed)) == len(listed)
    assert {setting.tokens for setting in listed} == {0, 16, 256}
    assert {setting.views for setting in listed} == {1, 2, 3, 4}
    texts = list(estimate.settings(job(["text"])))
    assert {(setting.views, setting.tokens) for setting in texts} == {(1, 0)} and len(texts) > 1


def test_plan_touches_nothing_and_tells_everything(recipes, run_cli, tmp_path):
    (tmp_path / "corpus/images/003.png").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run_cli("extract-teacher", recipes[0], "--plan")
    assert code == 0, err
    assert sorted(tmp_path.rglob("*")) == before
    assert (
        f"{tmp_path}/out/images: 70 rows in 2 shards of 64" in out and "probed 20 samples, 1 failed (the first: " in out
    )
    assert re.search(r"\(the first: \S*003\.png: \w.*\)$", out, re.M)
    assert "  this recipe and other settings; tokens: patch tokens kept of an image; paid after epochs: " in out
    assert "openclip/image           float16 [32]: 64 bytes a row" in out
    assert re.search(r"sets? the pace", out) and "texts/s" in out and "paid after epochs" in out and "free" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "float16", "0", "128", "8.96", "kB"] in [line[:6] for line in lines]


def test_what_is_there_is_planned_no_second_time(recipes, run_cli, tmp_path):
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = run_cli("extract-teacher", recipes[0], "--plan")
    complete = [
        f"{tmp_path}/out/{name}: already complete ({rows} rows), nothing to do"
        for name, rows in (("images", 70), ("texts", 160))
    ]
    assert code == 0 and out.splitlines() == complete
    code, out, err = run_cli("extract-teacher", recipes[0], "--plan", "--set", 'corpora.0.dtype="float32"')
    assert code == 0 and "to extract anew means 70 rows" in err and "add --overwrite" in err
    assert "image           float32" in out and complete[1] in out and sorted(tmp_path.rglob("*")) == before
