"""The trackers with their real packages, in their offline modes: a run goes through, and its numbers arrive."""

import json
import os

import pytest

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
