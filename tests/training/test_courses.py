"""What a run does beside its steps: sweeps, live teachers, measurements, plans, trackers, and what a NaN leaves."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import distillkit
from distillkit import stores
from distillkit.errors import MissingExtra, RecipeError, StoreError, TrainError
from distillkit.live import Live
from distillkit.recipe import TrainRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.training.batches import Batches
from distillkit.training.checkpoint import newest
from distillkit.training.course import Course
from distillkit.training.forecast import forecast
from distillkit.training.progress import memory
from distillkit.training.reproducer import replay
from tests.conftest import make_teacher
from tests.records import without_checksum
from tests.training.test_train import TIMED, metrics

SWEEP = """
[[students]]
name = "small"
kind = "timm_image"
model = "vit_tiny_patch16_224"
image_size = 32
embed_dim = 32
options = { depth = 1, embed_dim = 32, num_heads = 1 }
drop = 0.3
[[students]]
name = "wide"
kind = "timm_image"
model = "vit_tiny_patch16_224"
image_size = 32
embed_dim = 32
options = { depth = 1, embed_dim = 64, num_heads = 1 }
drop = 0.3
"""


def replaced(path, student):
    text = path.read_text()
    before, after = text.split("[student]")
    path.write_text(before + student + after[after.index("[[losses]]") :])
    return path


def quiet(message):
    pass


def weights(folder):
    return (folder / "student.safetensors").read_bytes()


def test_a_sweep_is_each_student_alone(recipes, run_cli, tmp_path):
    """Two widths in one pass give the same bytes as each by itself, dropout included."""
    run_cli("extract-teacher", recipes[0])
    sweep = replaced(recipes[1], SWEEP)
    code, out, err = run_cli("recipe", "check", sweep)
    told = [line.split()[0] for line in out.splitlines()]
    assert code == 0 and told.count("student") == 2, err
    assert [word for word in told if "/" in word] == [f"{tmp_path}/out/run/{name}" for name in ("small", "wide")]
    code, out, err = run_cli("train-student", sweep)
    assert code == 0 and out.strip() == str(tmp_path / "out/run"), err
    single = SWEEP.split("[[students]]")
    for name, block in (("small", single[1]), ("wide", single[2])):
        alone, text = tmp_path / f"{name}.toml", sweep.read_text()
        knobs = "\n".join(line for line in block.splitlines() if not line.startswith("name"))
        before, rest = text[: text.index("[[students]]")], text[text.index("[[losses]]") :]
        alone.write_text(f"{before}[student]\n{knobs}\n{rest}")
        assert run_cli("train-student", alone, "--set", f'out="{tmp_path}/{name}"')[0] == 0
        assert weights(tmp_path / "out/run" / name) == weights(tmp_path / name)
        assert weights(tmp_path / "out/run" / name / "baseline") == weights(tmp_path / name / "baseline")
    assert run_cli("evaluate", tmp_path / "out/run/wide")[0] == 0
    code, _, err = run_cli("evaluate", tmp_path / "out/run")
    both = f"{tmp_path}/out/run/small {tmp_path}/out/run/wide"
    assert code == 1 and f"is no run but holds {both}; name a run" in err


def replaced_once(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_students_of_one_read_see_the_same(recipes, run_cli):
    run_cli("extract-teacher", recipes[0])
    sweep = replaced(recipes[1], SWEEP)
    text = sweep.read_text()
    at = text.rindex("image_size = 32")
    sweep.write_text(text[:at] + "image_size = 48" + text[at + 15 :])
    code, _, err = run_cli("train-student", sweep)
    assert code == 1 and "different image sizes, patches or tokens" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('[[students]]\nname = "small"', "[student]\nkind='timm_image'\n[[students]]\nname = \"small\""), "write one"),
        (('name = "wide"', 'name = "small"'), "two students are called 'small'"),
    ],
)
def test_sweeps_that_are_not_clear(recipes, change, message):
    sweep = replaced(recipes[1], SWEEP)
    replaced_once(sweep, *change)
    with pytest.raises(RecipeError, match=message):
        load(sweep, kind=TrainRecipe)


# The live teacher.


def live(recipe, teacher, name):
    text = recipe.read_text().replace("batch_size = 16\n", 'batch_size = 16\nsource = "live"\n', 1)
    path = recipe.with_name(name)
    path.write_text(
        text.replace("[student]", f'[teacher]\nkind = "openclip"\nmodel = "local-dir:{teacher}"\n[student]')
    )
    return path


def test_caching_changes_nothing_but_speed(recipes, run_cli, teacher_folder, tmp_path):
    """Losses of every step, with the teacher in the loop, to the precision of float16."""
    run_cli("extract-teacher", recipes[0])
    knobs = ("--set", "log.every_steps=1", "--set", "optim.epochs=1.0")
    assert run_cli("train-student", recipes[1], *knobs)[0] == 0
    asked = live(recipes[1], teacher_folder, "live.toml")
    code, _, err = run_cli("train-student", asked, *knobs, "--set", f'out="{tmp_path}/live"')
    assert code == 0, err
    for part in ("", "baseline"):
        cached, computed = metrics(tmp_path / "out/run" / part), metrics(tmp_path / "live" / part)
        assert len(cached) == 4
        for one, other in zip(cached, computed, strict=True):
            assert one.keys() == other.keys()
            assert all(one[name] == pytest.approx(other[name], rel=5e-3) for name in one), (one, other)
    assert metrics(tmp_path / "out/run")[0]["affinity"] != metrics(tmp_path / "live")[0]["affinity"]


def test_another_live_teacher_is_refused(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    other = make_teacher(tmp_path / "other", seed=1)
    loaded = load(live(recipes[1], other, "live.toml"), kind=TrainRecipe)
    with pytest.raises(StoreError, match=r"the live teacher is not the one that made this store \(weights_sha256"):
        distillkit.train(loaded, quiet, ask=Live(loaded))
    with pytest.raises(RecipeError, match="a live teacher is built by the caller"):
        distillkit.train(loaded, quiet)
    with pytest.raises(RecipeError, match=r"a live teacher needs both data\.source"):
        load(recipes[1], ['data.source="live"'], kind=TrainRecipe)


# Measurements, plans, trackers.


def test_the_best_student_is_kept_and_measuring_changes_no_step(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    assert run_cli("train-student", recipes[1], "--set", f'out="{tmp_path}/calm"')[0] == 0
    text = recipes[1].read_text()
    eval_ = f'eval = {{ kind = "retrieval", store = "{tmp_path}/out/images" }}'
    recipes[1].write_text(text + f'[validation]\nevery_steps = 7\nbest = "R@5"\n{eval_}\n')
    code, _, err = run_cli("train-student", recipes[1])
    assert code == 0 and "R@5 0." in err
    run = tmp_path / "out/run"
    lines = [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]
    best = json.loads((run / "best/best.json").read_text())
    assert [line["step"] for line in lines] == [7, 14, 21, 24]  # the last one, too
    assert best["R@5"] == max(line["R@5"] for line in lines)
    assert best["step"] == min(line["step"] for line in lines if line["R@5"] == best["R@5"])
    RunFolder(run).load_student().load_state_dict(load_file(run / "best/student.safetensors"))
    assert weights(run) == weights(tmp_path / "calm")
    code, _, err = run_cli("train-student", recipes[1], "--overwrite", "--set", 'validation.best="R@7"')
    assert code == 1 and "validation.best: this eval gives no 'R@7'; it gives: R@1, R@5" in err.splitlines()[-1]


def test_a_baseline_learns_from_what_its_student_learned_from(recipes, tmp_path, corpus):
    """A store that grew while the student was trained would give the baseline other rows, and more steps."""
    distillkit.extract(recipes[0], quiet)
    store, told = tmp_path / "out/images", []

    def grow(line):
        told.append(line)
        if "/run: trained" in line:
            rows = (corpus / "pairs.tsv").read_text().splitlines()
            for number in range(3):
                shutil.copy(corpus / "images/000.png", corpus / f"images/new{number}.png")
                rows.append(f"a new text {number}\timages/new{number}.png")
            (corpus / "pairs.tsv").write_text("\n".join(rows) + "\n")
            stores.append(recipes[0], only=["images"])

    overrides = ["optim.epochs=1", "optim.warmup_epochs=0"]
    with pytest.raises(TrainError, match=r"^baseline: .*/out/images: another store took its place .* it back"):
        distillkit.train(recipes[1], grow, overrides=overrides)
    assert not (tmp_path / "out/run/baseline/student.json").exists()
    (aside,) = store.parent.glob("images.before-*")
    store.rename(store.parent / "grown")
    aside.rename(store)
    run = distillkit.train(recipes[1], told.append, overrides=overrides)
    assert RunFolder(run / "baseline").facts()["steps"] == RunFolder(run).facts()["steps"]


def test_overwrite_trains_anew_and_keeps_the_old_one(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1])
    code, _, err = run_cli("train-student", recipes[1], "--overwrite")
    assert code == 0 and "training anew, the old run is now" in err
    (old,) = (tmp_path / "out").glob("run.before-*")
    assert weights(old) == weights(tmp_path / "out/run")


def test_a_plan_says_what_a_run_takes_and_writes_nothing(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    before = set((tmp_path / "out").iterdir())
    code, out, err = run_cli("train-student", recipes[1], "--plan")
    assert code == 0, err
    words = [line.split()[0] for line in out.splitlines()]
    assert words[1:] == ["steps", "time", "memory", "features", "checkpoints", "pixels", "pixel", "pixel", "baseline"]
    assert "as if the pixel cache were made already" in out and "; the recipe asks for it" in out
    assert set((tmp_path / "out").iterdir()) == before
    assert "24 of 16 images, 4 an epoch" in out and "ms a step" in out and "MB/s of the" in out
    assert not (tmp_path / "out/run").exists()
    assert len(forecast(load(replaced(recipes[1], SWEEP), ["optim.epochs=0.3"], kind=TrainRecipe))) == 20


def resolving(tags):
    """What is like mlflow.tracking, and tells these of whoever runs this."""
    return SimpleNamespace(context=SimpleNamespace(registry=SimpleNamespace(resolve_tags=lambda: tags)))


def trackers(told):
    """What is like wandb, where who does not ask for a new run gets that which is active; and what is like MLflow."""
    active = []

    class Run:
        offline = resumed = disabled = False
        starting_step = 0

        def __init__(self, name):
            self.name = self.id = name

        def log(self, numbers, step):
            told.append(("run", self.name, step, numbers))

        def finish(self, exit_code=0):
            active[:] = [run for run in active if run is not self]
            told.append("crashed" if exit_code else "finished")

    def init(project, name, config, reinit=None):
        if not active or reinit == "create_new":
            active.append(Run(name))
        return active[-1]

    def create_run(experiment_id, tags, run_name):
        assert tags == {"mlflow.user": "me"}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    client = SimpleNamespace(
        create_run=create_run,
        log_dict=lambda run_id, value, name: None,
        set_terminated=lambda run_id, status: told.append(status),
    )
    mlflow = SimpleNamespace(
        MlflowClient=lambda: client,
        set_experiment=lambda name: SimpleNamespace(experiment_id=name),
        log_metrics=lambda numbers, step, run_id: told.append(("mlflow", run_id, step, numbers)),
        tracking=resolving({"mlflow.user": "me"}),
    )
    return SimpleNamespace(init=init), mlflow


def test_every_tracker_gets_every_line(recipes, run_cli, tmp_path, monkeypatch):
    run_cli("extract-teacher", recipes[0])
    told = []

    like_wandb, mlflow = trackers(told)
    for name, module in (("wandb", like_wandb), ("trackio", like_wandb), ("mlflow", mlflow)):
        monkeypatch.setitem(sys.modules, name, module)
    knobs = [f'log.{name}="mine"' for name in ("wandb", "trackio", "mlflow")]
    loaded = load(recipes[1], [*knobs, "log.gradient_norms=true", "optim.epochs=1.0"], kind=TrainRecipe)
    distillkit.train(loaded.model_copy(update={"baseline": None}), quiet)
    lines = [one for one in told if isinstance(one, tuple)]
    assert [name for name, *_ in lines] == ["run", "run", "mlflow"] and {step for _, _, step, _ in lines} == {4}
    assert lines[0][3]["affinity"] > 0 and lines[0][3]["gradient.affinity"] > 0
    assert told.count("finished") == 2 and told.count("FINISHED") == 1


def test_students_that_are_trained_together_have_a_run_each(recipes, monkeypatch):
    """wandb gave the second student the first one's run, and MLflow knows one active run."""
    distillkit.extract(recipes[0], quiet)
    told = []
    for name, module in zip(("wandb", "mlflow"), trackers(told), strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    knobs = ['log.wandb="mine"', 'log.mlflow="mine"', "optim.epochs=1.0"]
    loaded = load(replaced(recipes[1], SWEEP), knobs, kind=TrainRecipe)
    folder = distillkit.train(loaded.model_copy(update={"baseline": None}), quiet)
    lines = [one for one in told if isinstance(one, tuple)]
    assert sorted(line[:3] for line in lines) == sorted(
        (name, str(folder / student), 4) for name in ("run", "mlflow") for student in ("small", "wide")
    )
    for name in ("run", "mlflow"):
        one, other = (numbers for kind, _, _, numbers in lines if kind == name)
        assert one["total"] != other["total"]
    assert told.count("finished") == 2 and told.count("FINISHED") == 2


def tracked(monkeypatch, told):
    """A student's knobs for wandb and MLflow, which are these."""
    like_wandb, mlflow = trackers(told)
    monkeypatch.setitem(sys.modules, "wandb", like_wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return mlflow, ('log.wandb="mine"', 'log.mlflow="mine"', "log.every_steps=1")


def test_a_tracker_whose_server_goes_costs_no_training(student, monkeypatch):
    told = []
    mlflow, knobs = tracked(monkeypatch, told)
    log = mlflow.log_metrics

    def gone_after_two(numbers, step, run_id):
        if step > 2:
            raise RuntimeError("500: server went\nits body")
        log(numbers, step, run_id)

    monkeypatch.setattr(mlflow, "log_metrics", gone_after_two)
    code, err = student(*knobs)
    steps = [json.loads(line)["step"] for line in (student.run / "metrics.jsonl").read_text().splitlines()]
    assert code == 0 and steps[-1] > 3, err
    assert [one[2] for one in told if one[0] == "run"] == steps
    assert [one[2] for one in told if one[0] == "mlflow"] == [1, 2]
    said = f"{student.run}: mlflow failed (500: server went) and gets no more lines; metrics.jsonl has all of them"
    assert err.splitlines().count(said) == 1 and "FINISHED" not in told


def test_a_tracker_that_cannot_begin_is_told_in_one_line(student, monkeypatch):
    told = []
    mlflow, knobs = tracked(monkeypatch, told)

    def nowhere(name):
        raise RuntimeError("no such host")

    monkeypatch.setattr(mlflow, "set_experiment", nowhere)
    code, err = student(*knobs)
    last = err.splitlines()[-1]
    assert code == 1 and "mlflow cannot begin (no such host); mend that, or leave log.mlflow out" in last
    assert told == ["crashed"], "what began before it goes on for ever"


@pytest.mark.parametrize(("how", "status"), [(StoreError("images: damaged"), "FAILED"), (SystemExit(143), "KILLED")])
def test_trackers_are_told_how_a_training_ended(student, monkeypatch, how, status):
    told = []
    _, knobs = tracked(monkeypatch, told)
    real = Course.step

    def ended(course, batch, *more):
        if batch.step == 2:
            raise how
        real(course, batch, *more)

    monkeypatch.setattr(Course, "step", ended)
    assert student(*knobs)[0] in (1, 143)
    assert told[-2:] == ["crashed", status]


def test_of_steps_that_are_made_again_tensorboard_forgets_the_first(student, monkeypatch):
    made = []

    class Writer:
        def __init__(self, folder, purge_step):
            made.append((folder, purge_step))

        def add_scalar(self, *what):
            pass

        def close(self):
            pass

    monkeypatch.setitem(sys.modules, "tensorboard", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    real = Batches.stream

    def stopped(self, *arguments):
        for batch in real(self, *arguments):
            if batch.step == 3:
                raise StoreError("images: damaged shard")
            yield batch

    monkeypatch.setattr(Batches, "stream", stopped)
    assert student("log.tensorboard=true", "checkpoints.every_steps=2")[0] == 1
    kept = newest(student.run / "checkpoints")
    monkeypatch.setattr(Batches, "stream", real)
    assert student("log.tensorboard=true", "checkpoints.every_steps=2")[0] == 0
    assert made == [(str(student.run / "tensorboard"), 1), (str(student.run / "tensorboard"), kept + 1)] and kept


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_told(recipes, run_cli, monkeypatch, name):
    run_cli("extract-teacher", recipes[0])
    monkeypatch.setitem(sys.modules, name, None)
    value = "true" if name == "tensorboard" else '"mine"'
    with pytest.raises(MissingExtra, match=rf'{name} is not installed; run: pip install "distillkit\[{name}\]"'):
        distillkit.train(recipes[1], quiet, overrides=[f"log.{name}={value}"])


def test_a_nan_leaves_a_reproducer(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    knobs = ("--set", "optim.lr=1e30", "--set", "optim.warmup_epochs=0.0")
    code, _, err = run_cli("train-student", recipes[1], *knobs)
    (kept,) = (tmp_path / "out/run").glob("nan-*")
    assert code == 1 and str(kept) in err.splitlines()[-1]
    what = json.loads((kept / "what.json").read_text())
    terms = replay(kept)
    assert len(what["keys"]) == 16 and not all(torch.tensor(list(terms.values())).isfinite())
    assert {name: str(value) for name, value in terms.items()} == what["terms"]


@pytest.mark.parametrize(("epochs", "every"), [(0.25, 100), (0.5, 1)], ids=["at its end", "in a checkpoint"])
def test_weights_that_are_no_numbers_are_never_kept(recipes, run_cli, tmp_path, epochs, every):
    """The loss of their step was finite, so nothing has stopped it yet."""
    run_cli("extract-teacher", recipes[0])
    knobs = ("optim.lr=1e39", "optim.warmup_epochs=0.0", f"optim.epochs={epochs}", f"checkpoints.every_steps={every}")
    code, _, err = run_cli("train-student", recipes[1], *(word for knob in knobs for word in ("--set", knob)))
    last = err.splitlines()[-1]
    assert code == 1 and "step 1: " in last and "is not finite after it, though the losses were; lower optim.lr" in last
    run = tmp_path / "out/run"
    assert not (run / "student.safetensors").exists() and not [*run.glob("checkpoints/0*")]


def test_the_python_api_is_the_command_line(recipes, tmp_path):
    (images, texts) = distillkit.extract(recipes[0], quiet)
    assert len(distillkit.FeatureStore(images)) == 70 and texts.name == "texts"
    run = distillkit.train(recipes[1], quiet, overrides=["optim.epochs=1.0"])
    assert run == tmp_path / "out/run" and RunFolder(run).finished
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        _ = distillkit.distil


def test_a_recipe_from_before_a_knob_existed_is_the_same_run(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1])
    path = tmp_path / "out/run/recipe.json"
    record = json.loads(path.read_text())
    for recipe in (record["recipe"], record["identity"]["recipe"]):
        del recipe["optim"]["ema"], recipe["data"]["also"]
    path.write_text(without_checksum(record))
    assert "already trained" in run_cli("train-student", recipes[1])[2]


def test_the_memory_that_is_told_is_that_of_the_runs_own_device(monkeypatch):
    """Of a run on the CPU nobody asks a GPU that is there."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda *a: 7)
    assert memory(torch.device("cuda:1")) == 7 and memory(torch.device("cpu")) > 1e6


def test_memory_is_in_the_log(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1], "--set", "optim.epochs=1.0")
    line = json.loads((tmp_path / "out/run/metrics.jsonl").read_text().splitlines()[0])
    assert set(TIMED) < line.keys() and 0.1 < line["memory_gb"] < 10
