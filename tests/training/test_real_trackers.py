"""The trackers with their real packages, in their offline modes: a run goes through, and its numbers arrive."""

import json
import os
import shutil
import sys
from types import SimpleNamespace

import pytest

from distillkit.errors import StoreError
from distillkit.training.batches import Batches
from distillkit.training.checkpoint import newest

CONTEXT = "log.every_steps=1"


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
    """Trackers write beside the command and into a home of the test's own, and ask nobody."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": str(tmp_path),
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_DIR": str(tmp_path),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }.items():
        monkeypatch.setenv(name, value)


def steps_of(student):
    return [json.loads(line)["step"] for line in (student.run / "metrics.jsonl").read_text().splitlines()]


def test_tensorboard_gets_every_step(student):
    pytest.importorskip("tensorboard")
    code, err = student(CONTEXT, "log.tensorboard=true")
    assert code == 0, err
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(student.run / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("total")] == steps_of(student)


def test_wandb_gets_an_offline_run(student, tmp_path):
    pytest.importorskip("wandb")
    code, err = student(CONTEXT, 'log.wandb="toy"')
    assert code == 0, err
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert any(file.stat().st_size for file in run.glob("*.wandb"))


def test_mlflow_gets_every_step_and_the_end(student):
    mlflow = pytest.importorskip("mlflow")
    code, err = student(CONTEXT, 'log.mlflow="toy"')
    assert code == 0, err
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    history = client.get_metric_history(run.info.run_id, "total")
    assert [metric.step for metric in history] == steps_of(student) and run.info.status == "FINISHED"
    assert {"mlflow.user", "mlflow.source.name"} <= run.data.tags.keys()


def test_a_run_that_tells_trackio_ends_well(student):
    pytest.importorskip("trackio")
    code, err = student(CONTEXT, 'log.trackio="toy"')
    assert code == 0, err


# A training that was ended and goes on, from a checkpoint before the last line of its log.


@pytest.fixture
def twice(student, monkeypatch):
    """A run that is ended after step 5 and goes on after step 2: the exit code and the lines of the second training."""
    real = Batches.stream

    def broken(self, *arguments):
        for batch in real(self, *arguments):
            if batch.step == 5:
                raise StoreError("images: damaged shard")
            yield batch

    def train(*settings, between=lambda: None):
        knobs = (CONTEXT, "checkpoints.every_steps=2", "checkpoints.keep=9", "optim.epochs=4.0", *settings)
        with monkeypatch.context() as patched:
            patched.setattr(Batches, "stream", broken)
            assert student(*knobs)[0] == 1
        for folder in (student.run / "checkpoints").glob("0*"):
            if int(folder.name) > 2:
                shutil.rmtree(folder)
        assert newest(student.run / "checkpoints") == 2 and steps_of(student)[-1] == 5
        between()
        return student(*knobs)

    train.student = student
    return train


def test_in_wandb_a_run_that_goes_on_is_the_same_run(twice, tmp_path):
    pytest.importorskip("wandb").teardown()  # it asks its environment once a process
    code, err = twice('log.wandb="toy"')
    assert code == 0, err
    runs = {run.name.rpartition("-")[2] for run in (tmp_path / "wandb").glob("offline-run-*")}
    assert len(runs) == 1 and "does not go on" not in err


def mlflow_runs(mlflow):
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    found = client.search_runs([client.get_experiment_by_name("toy").experiment_id], run_view_type=3)
    return client, sorted(found, key=lambda run: run.info.start_time)


def test_in_mlflow_a_run_that_goes_on_is_one_curve(twice):
    mlflow = pytest.importorskip("mlflow")
    code, err = twice('log.mlflow="toy"')
    assert code == 0, err
    client, (run,) = mlflow_runs(mlflow)
    assert [one.step for one in client.get_metric_history(run.info.run_id, "total")] == steps_of(twice.student)
    assert run.info.status == "FINISHED"


def test_of_a_run_that_was_deleted_in_mlflow_a_new_one_is_begun(twice):
    mlflow = pytest.importorskip("mlflow")

    def deleted():
        client, (run,) = mlflow_runs(mlflow)
        client.delete_run(run.info.run_id)

    code, err = twice('log.mlflow="toy"', between=deleted)
    client, (first, second) = mlflow_runs(mlflow)
    assert code == 0 and err.count(f"mlflow does not go on with its run {first.info.run_id} (it was deleted)") == 1
    steps = [one.step for one in client.get_metric_history(second.info.run_id, "total")]
    assert steps == [step for step in steps_of(twice.student) if step > 2]


def test_in_trackio_a_run_that_goes_on_is_one_curve(twice):
    pytest.importorskip("trackio")
    code, err = twice('log.trackio="again"')
    assert code == 0, err
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("again")
    assert [line["step"] for line in SQLiteStorage.get_logs("again", name)] == steps_of(twice.student)


# The same with packages that are not there: what a server would answer.


class Wandb:
    """Knows `runs`: of each id the steps. `broken`: what `init` raises for an id that is asked for."""

    def __init__(self):
        self.runs, self.broken, self.away, self.disabled = {}, None, False, False

    def init(self, project, name, config, reinit, resume=None, **more):
        known = more.get("id")
        if self.away or (known and self.broken):
            raise RuntimeError("no such host" if self.away else self.broken)
        if self.disabled:
            run = SimpleNamespace(id=known or "nobody's", resumed=False, offline=False, disabled=True, starting_step=0)
            run.log, run.finish = lambda numbers, step: None, lambda exit_code: None
            return run
        resumed = known in self.runs
        steps = self.runs.setdefault(known or f"r{len(self.runs)}", [])
        made = SimpleNamespace(id=known or f"r{len(self.runs) - 1}", resumed=resumed, offline=False, disabled=False)
        made.starting_step = steps[-1] + 1 if steps else 0
        made.log, made.finish = lambda numbers, step: steps.append(step), lambda exit_code: None
        return made


@pytest.fixture
def like_wandb(monkeypatch):
    made = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


def test_no_step_goes_to_wandb_twice(twice, like_wandb):
    assert twice('log.wandb="toy"')[0] == 0
    assert like_wandb.runs == {"r0": steps_of(twice.student)}


def test_a_run_whose_steps_were_deleted_is_begun_anew_there_too(twice, like_wandb):
    """It went on as the run of before, and no line was sent up to the last that this one had sent."""

    def deleted():
        shutil.rmtree(twice.student.run / "checkpoints")
        (twice.student.run / "metrics.jsonl").unlink()

    assert twice('log.wandb="toy"', between=deleted)[0] == 0
    steps = steps_of(twice.student)
    assert steps[0] == 1 and like_wandb.runs == {"r0": [1, 2, 3, 4, 5], "r1": steps}


def test_a_run_that_wandb_has_lost_is_told_and_begun_anew(twice, like_wandb):
    def lost():
        like_wandb.broken = "409: run toy/r0 was previously created and deleted"

    code, err = twice('log.wandb="toy"', between=lost)
    assert (
        code == 0 and err.count(f"wandb does not go on with its run r0 ({like_wandb.broken}); this is a new one") == 1
    )
    assert like_wandb.runs["r1"] == [step for step in steps_of(twice.student) if step > 2]
    assert json.loads((twice.student.run / "trackers.json").read_text())["wandb"]["id"] == "r1"


def test_another_server_does_not_know_the_run(twice, like_wandb):
    code, err = twice('log.wandb="toy"', between=like_wandb.runs.clear)
    assert code == 0 and "its run r0 (the server does not know it); this is a new one" in err


@pytest.mark.parametrize("first", [True, False])
def test_with_wandb_disabled_no_run_is_missed_or_kept(twice, like_wandb, first):
    """Of each training that went on it was said that the server does not know its run: nobody had asked one."""
    like_wandb.disabled = first

    def disabled():
        like_wandb.disabled = True

    code, err = twice('log.wandb="toy"', between=disabled)
    kept = twice.student.run / "trackers.json"
    assert code == 0 and "does not go on" not in err
    assert not kept.is_file() if first else json.loads(kept.read_text())["wandb"]["id"] == "r0"


def test_a_training_under_way_goes_on_without_a_tracker_that_is_away(twice, like_wandb):
    def away():
        like_wandb.away = True

    code, err = twice('log.wandb="toy"', between=away)
    said = "wandb cannot begin (no such host) and gets no lines; metrics.jsonl has all of them"
    assert code == 0 and err.count(said) == 1, err
    assert json.loads((twice.student.run / "trackers.json").read_text())["wandb"]["id"] == "r0"


def test_a_damaged_record_of_trackers_costs_no_training(twice, like_wandb):
    def damage():
        path = twice.student.run / "trackers.json"
        path.write_text(path.read_text().replace("r0", "r7"))

    code, err = twice('log.wandb="toy"', between=damage)
    assert code == 0 and "trackers.json: damaged" in err and set(like_wandb.runs) == {"r0", "r1"}
