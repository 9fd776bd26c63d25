"""The command line on a pretend GPU: both stages, from pixels to the report, with what a real one is told to do."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from distillkit import mine
from distillkit.engine import computing
from distillkit.evaluation import embed
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.training.course import Course
from distillkit.training.reproducer import replay
from tests.conftest import EXTRACT, draw
from tests.pretend import pretend_gpu

FULL = (
    "optim.accumulate=2",
    "optim.ema=0.9",
    "optim.clip_grad_norm=1.0",
    "checkpoints.every_steps=2",
    "log.every_steps=1",
    "log.gradient_norms=true",
    'validation={eval={kind="retrieval",store="STORES/images"},every_steps=2,best="R@1"}',
)
BASELINE = 'baseline={captions="unique",losses=[{kind="contrastive",text="teacher"}]}'


QUIET = ("log.every_steps=1000", "checkpoints.every_steps=1000")  # what is left is the steps themselves


@pytest.fixture
def student(student):
    """With convolutions and batch norms as the one of other tests, and a third of its layers.

    A pretend GPU takes its time over every operation: these tests and those of test_pretend_gpu.py are to take no more
    than 90 seconds of a core together, which `--durations=0` tells, on a machine that does nothing else.
    """
    recipe = student.recipe.read_text()
    student.recipe.write_text(recipe.replace('"mobilenetv3_small_050"', '"test_efficientnet"'))
    return student


@pytest.fixture
def gpu():
    with pretend_gpu() as ledger:
        yield ledger


@pytest.fixture
def steps(gpu, monkeypatch):
    """What every training step adds to the ledger, from the second on: from one `Course.step` to the next."""
    noted, step = [], Course.step

    def stepped(self, *given):
        noted.append((gpu.waits.copy(), gpu.pageable.copy()))
        step(self, *given)

    monkeypatch.setattr(Course, "step", stepped)

    def found():
        """Of the last run, which is then forgotten."""
        one_run = noted[1:]
        noted.clear()
        return [tuple(new - old for new, old in zip(two, one, strict=True)) for one, two in pairwise(one_run)]

    return found


@pytest.fixture
def mined_here(monkeypatch):
    """Mining is in this process: a pretend GPU does not reach into another one."""
    monkeypatch.setattr(
        "distillkit.mining.process.mine_apart",
        lambda recipe, say, command, part: mine.mine_here(recipe, 1, say, command),
    )


def mining(stores, folder, device):
    recipe = folder / f"mine-{device}.toml"
    recipe.write_text(
        f'name = "near_{folder.name}_{device}"\nqueries = "{stores}/images"\ncorpus = "{stores}/texts"\nk = 5\n'
        f'device = "{device}"\nnear_duplicates = 0.9999\n'
    )
    return recipe


def within_budget(found):
    """A step waits once for the GPU, to see that the loss is finite, and copies from pinned memory alone."""
    assert found
    for waits, pageable in found:
        assert sum(waits.values()) <= 1 and not pageable, f"{dict(waits)} {dict(pageable)}"


# Stage 1.


def recipe_for(toy, folder, teacher):
    path = folder / "extract.toml"
    path.write_text(EXTRACT.format(out=folder / "gpu", corpus=toy, teacher=teacher))
    return path


def test_a_store_made_on_a_gpu_says_what_one_of_a_cpu_says(gpu, toy_stores, run_cli, tmp_path, teacher_folder):
    code, _, err = run_cli("extract-teacher", recipe_for(toy_stores / "corpus", tmp_path, teacher_folder))
    assert code == 0, err
    for store, fields in (("images", ("image", "text")), ("texts", ("text",))):
        assert verify(tmp_path / "gpu" / store) == []
        here, there = (FeatureStore(place / store) for place in (toy_stores / "out", tmp_path / "gpu"))
        assert there.teacher(fields[0])["precision"] == "bf16"
        rows = np.arange(len(here))
        for field in fields:
            said = (one.read(field, rows).float() for one in (here, there))
            assert torch.cosine_similarity(*said).min() > 0.999


def test_teachers_are_asked_without_a_wait(gpu, corpus, run_cli, tmp_path, teacher_folder, monkeypatch):
    """Batches go there from pinned memory; the thread that asks never waits for what is said of them."""
    asked, ask = [], computing._ask

    def asking(shard, what, *rest):
        before = gpu.waits_here, gpu.pageable.copy()
        ask(shard, what, *rest)
        asked.append((what, gpu.waits_here - before[0], gpu.pageable - before[1]))

    monkeypatch.setattr(computing, "_ask", asking)
    recipe = recipe_for(corpus, tmp_path, teacher_folder)
    code, _, err = run_cli("extract-teacher", recipe, "--set", "corpora.0.batch_size=4")
    assert code == 0, err
    later = asked[2:]  # the first ones of either kind bring constants there
    assert {what for what, *_ in later} == {"image", "text"}
    for what, waits, pageable in later:
        assert not waits and not pageable, f"{what} {dict(waits)} {dict(pageable)}"
    kept = [key for key in gpu.waits if key.startswith("an event's synchronize @ system/device.py")]
    assert kept, "whoever keeps what was said waits for it"


def as_jpegs(corpus):
    for path in (corpus / "images").iterdir():
        Image.open(path).save(path, "JPEG")
    return corpus


def test_nvjpeg_decodes_for_a_teacher_and_for_a_student(gpu, nvjpeg, run_cli, tmp_path, teacher_folder, recipes):
    corpus = as_jpegs(draw(tmp_path / "jpegs", 40))
    extract = recipe_for(corpus, tmp_path, teacher_folder)
    for path, out in (("torchvision", "cpu"), ("nvjpeg", "gpu")):
        knobs = ("--set", f'teacher.pixels="{path}"', "--set", f'out="{tmp_path / out}"')
        assert run_cli("extract-teacher", extract, *knobs)[0] == 0
    assert sum(nvjpeg) == 40
    said = [FeatureStore(tmp_path / out / "images").read("image", np.arange(40)).float() for out in ("cpu", "gpu")]
    assert torch.cosine_similarity(*said).min() > 0.999
    recipe = recipes[1]
    text = (
        recipe.read_text().split("[baseline]")[0].replace("pixel_cache = 32\n", 'augment = { resample = "nvjpeg" }\n')
    )
    recipe.write_text(text.replace(f"{tmp_path}/out/", f"{tmp_path}/gpu/").replace("epochs = 6", "epochs = 1"))
    code, _, err = run_cli("train-student", recipe)
    assert code == 0 and "nvjpeg decodes JPEGs" in err and sum(nvjpeg) > 40, err


# Stage 2.


def knobs_of(student, *more):
    return [one.replace("STORES", str(student.stores)) for one in (*FULL, *more)]


@pytest.mark.long
def test_a_run_with_everything_resumes_and_is_evaluated(gpu, student, run_cli, monkeypatch, tmp_path):
    """Killed after two steps, it goes on to the bytes of one that was not."""
    whole = tmp_path / "whole"
    assert student(*knobs_of(student), f'out="{whole}"')[0] == 0
    step = Course.step

    def dying(self, batch, *rest):
        if batch.step == 3:
            raise KeyboardInterrupt
        step(self, batch, *rest)

    monkeypatch.setattr(Course, "step", dying)
    assert student(*knobs_of(student, BASELINE))[0] == 130
    monkeypatch.setattr(Course, "step", step)
    gpu.clear()
    code, err = student(*knobs_of(student, BASELINE))
    fetched = [key for key in gpu.waits if key.startswith("a copy to the CPU @ training/checkpoint.py")]
    assert not fetched, "a checkpoint comes as a whole, not tensor by tensor"
    assert code == 0 and "continuing after step 2" in err, err
    one, other = (load_file(run / "student.safetensors") for run in (whole, student.run))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert json.loads((student.run / "best/best.json").read_text())["step"] in (2, 4)
    line = json.loads((student.run / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["gradient.affinity"] > 0 and line["memory_gb"] > 0
    assert (student.run / "baseline/student.json").is_file()
    assert run_cli("evaluate", student.run)[0] == 0
    assert (student.run / "report.html").is_file()


def test_what_is_measured_is_measured_on_the_gpu_from_images_decoded_ahead(gpu, student, run_cli, monkeypatch):
    """While training goes on, and after it: by all threads, from pinned memory, with no wait for a batch."""
    looks, batches = [], embed._batches

    def looked(files, rows, size, pace, ahead):
        looks.append((ahead, pace.threads))
        for pixels in batches(files, rows, size, pace, ahead):
            before = gpu.copies, gpu.waits, gpu.pageable.copy()
            yield pixels
            asked = gpu.waits - before[1], gpu.pageable - before[2]
            assert gpu.copies == before[0] + 1, "pixels go to the GPU"
            assert not [key for one in asked for key in one if "event" not in key], asked

    monkeypatch.setattr(embed, "_batches", looked)
    knobs = (
        "data.workers=3",
        "evaluation.batch_size=8",
        "optim.epochs=1.0",
        *(
            one.replace("STORES", str(student.stores))
            for one in (FULL[-1], 'evals=[{kind="retrieval",store="STORES/images"}]')
        ),
    )
    assert student(*knobs)[0] == 0
    validated = len(looks)
    assert validated and run_cli("evaluate", student.run)[0] == 0
    assert len(looks) > validated and set(looks) == {(3, 3)}


def test_a_step_waits_once(steps, student):
    """With pixels that the GPU makes, and with those that threads make."""
    for render in ("device", "workers"):
        code, err = student(f'data.render="{render}"', f'out="{student.run}-{render}"', *QUIET)
        assert code == 0, err
        within_budget(steps())


def test_stored_views_and_mixtures_are_made_without_a_wait(steps, student, run_cli, tmp_path, teacher_folder):
    """The operations of every image's view on the GPU, then images mixed in pairs."""
    extract = recipe_for(student.stores.parent / "corpus", tmp_path, teacher_folder)
    views = "corpora.0.views={count=2,randaugment={ops=2,magnitude=9}}"
    code, _, err = run_cli("extract-teacher", extract, "--set", views, "--set", "corpora.0.rows_per_shard=1024")
    assert code == 0, err
    data = (
        f'data={{images="{tmp_path}/gpu/images",captions="unique",views="stored",batch_size=8,augment={{mixup=0.8}}}}'
    )
    term = 'losses=[{kind="contrastive",text="teacher",directions="rows"}]'
    code, err = student(data, term, *QUIET)
    assert code == 0, err
    within_budget(steps())


def test_pairs_of_towers_wait_no_more(steps, student):
    code, err = student(
        'student={kind="openclip_pair",model={embed_dim=32,vision_cfg={image_size=32,layers=1,width=32,head_width=16,'
        "patch_size=16},text_cfg={context_length=10,vocab_size=49408,width=32,heads=2,layers=1}}}",
        f'data={{images="{student.stores}/images",captions="unique",batch_size=8}}',
        'losses=[{kind="contrastive",logit_scale="student"},{kind="interactive"},{kind="fusion"}]',
        'optim.loss_products="bf16"',
        *QUIET,
    )
    assert code == 0, err
    within_budget(steps())


def test_a_loss_that_is_not_finite_leaves_what_shows_it(gpu, student):
    code, err = student("optim.lr=1e30", "optim.warmup_epochs=0.0", 'optim.precision="fp32"')
    assert code == 1 and "batch and weights" in err, err
    (kept,) = student.run.glob("nan-*")
    assert not all(np.isfinite(value) for value in replay(kept).values())


def test_half_precision_and_a_live_teacher(gpu, student, teacher_folder):
    code, err = student('optim.precision="fp16"')
    assert code == 0, err
    live = ('data.source="live"', f'teacher={{kind="openclip",model="local-dir:{teacher_folder}",precision="fp32"}}')
    code, err = student(*live, f'out="{student.run}-live"', "optim.epochs=1.0")
    assert code == 0, err


def test_a_run_on_the_cpu_touches_no_gpu(gpu, toy_stores, student, run_cli, tmp_path, teacher_folder, mined_here):
    """Beside a GPU that is full, or another's, `device = "cpu"` must not begin CUDA, for its name neither."""
    recipe = recipe_for(toy_stores / "corpus", tmp_path, teacher_folder)
    code, _, err = run_cli("extract-teacher", recipe, "--set", 'teacher.device="cpu"')
    assert code == 0, err
    for render in ("device", "workers"):
        code, err = student('device="cpu"', f'data.render="{render}"', f'out="{student.run}-{render}"')
        assert code == 0, err
        assert run_cli("evaluate", f"{student.run}-{render}", "--set", 'device="cpu"')[0] == 0
    code, place, err = run_cli("mine-neighbours", mining(toy_stores / "out", tmp_path, "cpu"))
    assert code == 0, err
    assert gpu.copies == 0 and gpu.pins == 0 and not gpu.waits and not gpu.begun, dict(gpu.begun)
    assert gpus_named(tmp_path / "gpu/images", tmp_path / "run-workers", Path(place.strip())) == [None] * 3


def test_what_a_gpu_did_names_it(gpu, toy_stores, student, run_cli, tmp_path, teacher_folder, mined_here):
    assert run_cli("extract-teacher", recipe_for(toy_stores / "corpus", tmp_path, teacher_folder))[0] == 0
    assert student("optim.epochs=1.0")[0] == 0
    place = run_cli("mine-neighbours", mining(toy_stores / "out", tmp_path, "cuda"))[1]
    assert gpus_named(tmp_path / "gpu/images", student.run, Path(place.strip())) == ["Pretend"] * 3


def gpus_named(store, run, mined):
    """By the logs of an extraction and of a mining, and by what is known of a run."""
    logs = [json.loads(file.read_text().splitlines()[-1]) for file in (store / "extract.jsonl", mined / "mine.jsonl")]
    return [one["machine"]["gpu"] for one in (*logs, json.loads((run / "student.json").read_text()))]


# Mining.


def test_mining_on_a_gpu_finds_what_a_cpu_finds(gpu, toy_stores, run_cli, tmp_path, mined_here):
    found = []
    for device in ("cuda", "cpu"):
        code, place, err = run_cli("mine-neighbours", mining(toy_stores / "out", tmp_path, device))
        assert code == 0, err
        found.append(FeatureStore(place.strip()).read("ids", np.arange(40)))
    assert torch.equal(*found)
