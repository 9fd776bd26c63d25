"""Keys that the environment holds reach no file, no log and no tracker."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.hub import hub_here

# Whoever is asked for credentials here: buckets, trackers, hubs.
KEYS = {
    name: f"TOPSECRET{number:02d}abcdefgh"
    for number, name in enumerate(
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "WANDB_API_KEY",
            "MLFLOW_TRACKING_USERNAME",
            "MLFLOW_TRACKING_PASSWORD",
            "MLFLOW_TRACKING_TOKEN",
            "TRACKIO_TOKEN",
            "HF_TOKEN",
            "AZURE_STORAGE_CONNECTION_STRING",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_CLIENT_SECRET",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_API_KEY",
            "FSSPEC_ABFS_ACCOUNT_KEY",
            "FSSPEC_GCS_TOKEN",
            "FSSPEC_HTTPS",
        )
    )
}
# How each is written where it is not the key alone.
WRITTEN = {
    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=me;AccountKey={}",
    "AZURE_STORAGE_SAS_TOKEN": "sv=2024&sig={}",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/{}.json",
    "FSSPEC_HTTPS": '{{"client_kwargs": {{"headers": {{"Authorization": "Bearer {}"}}}}}}',
}


def set_all(monkeypatch):
    for name, key in KEYS.items():
        monkeypatch.setenv(name, WRITTEN.get(name, "{}").format(key))


def samples(folder, count=256):
    """Pictures and texts enough to ask an export about."""
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "texts.txt").write_text("".join(f"number {number}\n" for number in range(count)))
    return folder


def holding(folder):
    """Files with a key in them, or in their names."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes() + str(path).encode()
        found += [(path, name) for name, key in KEYS.items() if key.encode() in content]
    return found


@pytest.fixture
def heard(monkeypatch):
    """All that trackers are given, by ones that only listen."""
    given = []

    def listens(**what):
        given.append(what)
        run = SimpleNamespace(id="1", name="1", starting_step=0, disabled=False, finish=lambda **end: None)
        run.log = lambda *line, **step: given.append((line, step))
        return run

    for package in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        sys.modules[package].init = listens
    mlflow = ModuleType("mlflow")

    def hears(*what, **more):
        given.append((what, more))
        return SimpleNamespace(experiment_id="1", info=SimpleNamespace(run_id="1"))

    mlflow.set_experiment = mlflow.log_metrics = hears
    registry = SimpleNamespace(resolve_tags=dict)
    mlflow.tracking = SimpleNamespace(context=SimpleNamespace(registry=registry))
    mlflow.MlflowClient = lambda: SimpleNamespace(create_run=hears, log_dict=hears, set_terminated=hears)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return given


@pytest.mark.long
def test_keys_of_buckets_trackers_and_hubs_are_in_no_file_that_is_left(
    recipes, corpus, tmp_path, s3, run_cli, monkeypatch, heard, impatient
):
    set_all(monkeypatch)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    url = s3(corpus, "corpus")
    set_all(monkeypatch)  # the fixture set its own
    for recipe in recipes:
        text = (
            recipe.read_text().replace(str(corpus), url).replace(f'"{tmp_path}/out/texts"', '"s3://corpora/out/texts"')
        )
        recipe.write_text(text)
    told = [
        run_cli("extract-teacher", recipes[0], "--set", f'out="{where}"')
        for where in (tmp_path / "out", "s3://corpora/out")
    ]
    trackers = (
        'log.wandb="p"',
        'log.trackio="p"',
        'log.mlflow="p"',
        "optim.epochs=1.0",
        "optim.warmup_epochs=0.0",
    )
    told.append(run_cli("train-student", recipes[1], *(word for knob in trackers for word in ("--set", knob))))
    told.append(run_cli("evaluate", tmp_path / "out/run"))
    told.append(run_cli("store", "info", "s3://corpora/out/images"))
    told.append(run_cli("compare", tmp_path / "out/run", "--teacher"))
    told.append(run_cli("export", tmp_path / "out/run", "--to", "hf", "--samples", samples(tmp_path / "samples")))
    with hub_here(monkeypatch) as hub:
        set_all(monkeypatch)
        hub.token = KEYS["HF_TOKEN"]
        told.append(run_cli("push", tmp_path / "out/run", "me/it"))
        told.append(run_cli("store", "push", tmp_path / "out/images", "me/them"))
    assert [code for code, _, _ in told] == [0] * len(told), [err for code, _, err in told if code]
    sent = b"".join(content for files in hub.files.values() for content in files.values())
    assert len(hub.files) == 2 and not [name for name, key in KEYS.items() if key.encode() in sent]
    told.append(run_cli("extract-teacher", recipes[0], "--set", 'corpora.0.source.file="s3://other/pairs.tsv"'))
    assert told[-1][0] == 1
    s3.bucket.get("corpora", str(tmp_path / "bucket"), recursive=True)
    assert (tmp_path / "out/run/recipe.json").is_file() and list(tmp_path.glob("out/run/report*")), list(
        (tmp_path / "out/run").iterdir()
    )
    assert list(tmp_path.glob("bucket/**/manifest.json")) and heard
    assert holding(tmp_path) == []
    assert not [name for name, key in KEYS.items() if key in repr(told) + repr(heard)]
