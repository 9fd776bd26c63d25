"""What a user can get wrong in stage 2, tried through the command: one clear line, and the run's folder as it was."""

import shutil
from pathlib import Path

import pytest
import torch

from distillkit.errors import TrainError
from distillkit.recipe import Optim
from distillkit.training.gpu_memory import fitting
from distillkit.training.ranks import Ranks
from tests.conftest import EXTRACT, TRAIN, draw, make_teacher
from tests.system.test_device import FULL


@pytest.fixture(scope="module")
def world(tmp_path_factory, teacher_folder):
    """Toy stores, and an extraction of the same corpus by another teacher, made once."""
    from distillkit import extract

    folder = tmp_path_factory.mktemp("world")
    corpus = draw(folder / "corpus", 40)
    for out, teacher in (("out", teacher_folder), ("other", make_teacher(folder / "another", seed=1))):
        recipe = folder / f"{out}.toml"
        recipe.write_text(EXTRACT.format(out=folder / out, corpus=corpus, teacher=teacher))
        extract(recipe, lambda line: None)
    return folder


@pytest.fixture
def train(world, run_cli, tmp_path):
    """The command on the toy recipe, with a run folder of the test's own: (exit code, lines of stderr)."""
    recipe = tmp_path / "train.toml"
    text = TRAIN.format(out=world / "out").replace(f'out = "{world}/out/run"', f'out = "{tmp_path}/run"')
    recipe.write_text(text.split("[baseline]")[0].replace("pixel_cache = 32\n", "").replace("epochs = 6", "epochs = 4"))

    def run(*settings, words=()):
        knobs = (word for one in settings for word in ("--set", one))
        code, _, err = run_cli("train-student", recipe, *words, *knobs)
        assert "Traceback" not in err
        return code, err.splitlines()

    run.recipe, run.folder = recipe, tmp_path / "run"
    return run


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            'losses=[{ kind = "token_regression" }]',
            "losses.token_regression needs student.cls, the student gives image",
        ),
        ('losses=[{ kind = "label_kd" }]', "losses.label_kd needs student.logits, the student gives image"),
        ('losses=[{ kind = "feature_regression", field = "cls" }]', "losses.feature_regression needs"),
        ("student.embed_dim=48", "student.image, 48 wide, with teacher.text, 32 wide; set student.embed_dim to the"),
        ('data.texts="{world}/other/texts"', "were made by different teachers ("),
        ('data.images="{world}/out/texts"', "out/texts"),
        ('data.images="{world}/nowhere"', "nowhere"),
        ("data.batch_size=4000", "no batch of 4000 from 40 rows; lower data.batch_size"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_run_begins(train, world, setting, message):
    code, lines = train(setting.replace("{world}", str(world)))
    print(lines)
    assert code == 1 and len(lines) == 1 and message in lines[0], lines
    assert not train.folder.exists()


def test_a_recipe_changed_under_a_run_names_its_keys_old_and_new(train):
    assert train("optim.epochs=1.0")[0] == 0
    before = content(train.folder)
    code, lines = train("optim.epochs=2.0", "seed=5", "data.augment.flip=0.25", words=["--overwrite"])
    changes = "recipe.data.augment.flip: 0.5 -> 0.25, recipe.optim.epochs: 1.0 -> 2.0, recipe.seed: 3 -> 5"
    assert code == 0 and f"{changes}; training anew, the old run is now" in lines[0]
    (aside,) = train.folder.parent.glob("run.before-*")
    assert content(aside) == before


@pytest.mark.slow
def test_a_checkpoint_of_another_student_is_refused(train, tmp_path):
    assert train('student.model="mobilenetv3_small_075"', "optim.epochs=1.0", "checkpoints.every_steps=1")[0] == 0
    other = shutil.copytree(train.folder / "checkpoints", tmp_path / "kept")
    shutil.rmtree(train.folder)
    assert train("optim.epochs=3.0")[0] == 0
    (train.folder / "student.json").unlink()
    shutil.rmtree(train.folder / "checkpoints")
    shutil.copytree(other, train.folder / "checkpoints")
    before = content(train.folder)
    code, lines = train("optim.epochs=3.0")
    assert code == 1 and "holds another student or objective (size mismatch" in lines[-1]
    assert lines[-1].endswith("begin with --overwrite")
    assert content(train.folder) == before


def test_an_image_that_went_missing_is_named_and_the_run_goes_on_when_it_is_back(train, world):
    lost = world / "corpus/images/007.png"
    aside = lost.rename(lost.with_suffix(".away"))
    try:
        code, lines = train("checkpoints.every_steps=1")
    finally:
        aside.rename(lost)
    assert code == 1 and "007.png" in lines[-1] and lines[-1].startswith("error: ")
    assert not (train.folder / "student.json").is_file()
    assert train("checkpoints.every_steps=1")[0] == 0


def test_a_full_disk_at_a_checkpoint_is_told_and_the_run_goes_on(train, monkeypatch):
    write, calm = Path.write_bytes, train("optim.epochs=4.0", f'out="{train.folder}-calm"')

    def full(self, data):
        if "00000003" in str(self) and self.name == "optimizer.safetensors":
            raise OSError(28, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        code, lines = train("checkpoints.every_steps=1")
    assert calm[0] == 0 and code == 1
    assert "checkpoints/00000003: no space left on the disk; what is committed is kept" in lines[-1]
    kept = {path.name for path in (train.folder / "checkpoints").iterdir()}
    assert kept == {"00000001", "00000002"}
    code, lines = train("checkpoints.every_steps=1")
    assert code == 0 and "continuing after step 2" in lines[0]
    calm_student = Path(f"{train.folder}-calm") / "student.safetensors"
    assert (train.folder / "student.safetensors").read_bytes() == calm_student.read_bytes()


@pytest.mark.parametrize("place", ["see", pytest.param("__init__", marks=pytest.mark.slow)])
def test_what_a_gpu_cannot_hold_is_told_with_what_to_set(train, monkeypatch, place):
    from distillkit.training.learner import Learner

    assert train("checkpoints.every_steps=1", "optim.epochs=1.0", f'out="{train.folder}"')[0] == 0
    (train.folder / "student.json").unlink()
    shutil.rmtree(train.folder / "checkpoints/00000002")
    before = content(train.folder)

    def full(self, *arguments, **knobs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(Learner, place, full)
        code, lines = train("checkpoints.every_steps=1", "optim.epochs=1.0")
    what = "16 images do" if place == "see" else "the student alone does"
    kept = "; a checkpoint of step 1 is kept, from which the same command goes on" if place == "see" else ""
    assert code == 1 and lines[-1] == (
        f"error: {what} not fit into memory; set optim.accumulate = 2 (same loss, smaller parts), "
        "optim.recompute = true (activations are made twice), optim.shard = true on several GPUs, or lower "
        f"data.batch_size{kept}"
    )
    changed = {path for path, data in content(train.folder).items() if before.get(path) != data}
    assert changed <= {Path("metrics.jsonl"), Path("recipe.json")} and before.keys() == content(train.folder).keys()


@pytest.mark.parametrize("error", FULL, ids=str)
def test_the_end_of_memory_is_told_whatever_names_it(error):
    told = r"^16 images do not fit into memory; set optim\.accumulate = 2"
    with pytest.raises(TrainError, match=told), fitting("16 images do", Optim(epochs=1)):
        raise error
    with pytest.raises(RuntimeError, match=r"^another one$"), fitting("16 images do", Optim(epochs=1)):
        raise RuntimeError("another one")


def test_machines_that_do_not_see_one_run_folder_are_told(train, monkeypatch):
    """As if the first rank, on another machine, had found a checkpoint there."""
    monkeypatch.setattr(Ranks, "told", lambda self, value: 7 if value == 0 else value)
    code, lines = train()
    assert code == 1 and lines[-1].endswith(
        "run: rank 0 finds a checkpoint of step 0, the first rank one of step 7; let all machines see one run folder"
    )
