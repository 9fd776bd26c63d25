"""The main job through its own commands, on the toy world: extract, train, evaluate, and each again."""

import json
import shutil

import numpy as np
import pyarrow as pa
import torch
import zarr


def test_the_whole_job_and_then_nothing_to_do(recipes, run_cli, tmp_path):
    extract, train = recipes
    code, out, err = run_cli("extract-teacher", extract)
    assert code == 0, err
    assert out.split() == [str(tmp_path / "out/images"), str(tmp_path / "out/texts")]
    assert "loaded" in err and "sha256" in err and "next: distillkit recipe new FILE" in err

    code, out, err = run_cli("train-student", train)
    assert code == 0, err
    assert f"next: distillkit evaluate {tmp_path}/out/run" in err

    code, out, err = run_cli("evaluate", tmp_path / "out/run")
    assert code == 0, err
    results = json.loads((tmp_path / "out/run/evaluation.json").read_text())["results"]["retrieval"]
    assert results.keys() == {"teacher", "student", "baseline"}
    assert 0 <= results["student"]["R@10.low"] <= results["student"]["R@10"] <= results["student"]["R@10.high"] <= 1

    assert "already complete" in run_cli("extract-teacher", extract)[2]
    assert run_cli("train-student", train)[2].count("already trained") == 2
    code, out, err = run_cli("evaluate", tmp_path / "out/run")
    assert (code, out.strip()) == (0, str(tmp_path / "out/run/report.html")) and "already evaluated" in err
    text = train.read_text()
    train.write_text(text.replace('kind = "retrieval"', 'kind = "retrieval"\nks = [3]'))
    assert "already trained" in run_cli("train-student", train)[2]
    assert "R@3" in run_cli("evaluate", tmp_path / "out/run")[2]


def test_zarr_and_pyarrow_open_the_store_by_themselves(recipes, run_cli, tmp_path):
    from distillkit.store.reading.reader import FeatureStore

    assert run_cli("extract-teacher", recipes[0])[0] == 0
    path = tmp_path / "out/images"
    store = FeatureStore(path)
    array = zarr.open(path, mode="r")["openclip/image"]
    assert array.shape == (70, 32) and array.dtype == np.float16
    np.testing.assert_array_equal(array[:], store.read("image", np.arange(70)).numpy())
    index = pa.ipc.open_file(path / "index/00001.arrow").read_all()
    assert index["key"].to_pylist() == [f"images/{n:03d}.png" for n in range(64, 70)]


def test_a_changed_recipe_redoes_what_depends_on_it_and_loses_nothing(recipes, run_cli, tmp_path):
    extract, train = recipes
    run_cli("extract-teacher", extract)
    run_cli("train-student", train)
    before = (tmp_path / "out/run/student.safetensors").read_bytes()

    whole = tree(tmp_path / "out/run")
    code, _, err = run_cli("train-student", train, "--set", "optim.lr=1e-3")
    assert code == 1 and "recipe.optim.lr: 0.0008 -> 0.001" in err and "--overwrite" in err
    assert tree(tmp_path / "out/run") == whole and not list((tmp_path / "out").glob("run.before-*"))

    code, _, err = run_cli("train-student", train, "--set", "optim.lr=1e-3", "--overwrite")
    assert code == 0 and "recipe.optim.lr: 0.0008 -> 0.001" in err and "the old run is now" in err
    (aside,) = (tmp_path / "out").glob("run.before-*")
    assert (aside / "student.safetensors").read_bytes() == before

    whole = tree(tmp_path / "out/texts")
    code, _, err = run_cli("extract-teacher", extract, "--set", 'corpora.1.dtype="float32"')
    assert code == 1 and "fields.openclip/text.dtype: 'float16' -> 'float32'" in err
    assert "means 160 rows, 0:00:0" in err and "rows/s that its log tells" in err and "--overwrite" in err
    assert tree(tmp_path / "out/texts") == whole

    code, _, err = run_cli("extract-teacher", extract, "--set", 'corpora.1.dtype="float32"', "--overwrite")
    assert code == 0 and "images: already complete" in err and "'float32'; extracting anew" in err
    assert len(list((tmp_path / "out").glob("texts.before-*"))) == 1


def test_a_part_finished_store_is_not_set_aside_unasked(recipes, run_cli, tmp_path):
    """What was paid for is its committed shards; where there is none, another recipe begins unasked (test_begun.py)."""
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    texts = tmp_path / "out/texts"
    for lost in ("manifest.json", "commits/00001.json"):
        (texts / lost).unlink()
    whole = tree(texts)
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", 'corpora.1.dtype="float32"')
    told = err.splitlines()[-1]
    assert code == 1 and "fields.openclip/text.dtype: 'float16' -> 'float32'" in told and "--overwrite" in told
    assert "means 160 rows, 0:00:0" in told and tree(texts) == whole and not list(texts.parent.glob("*.before-*"))


KNOBS = (
    *("corpora.1.batch_size=8", "corpora.1.rows_per_shard=128", "corpora.1.max_failures=0.5"),
    *("decode_threads=1", 'decode="processes"', 'memory="300MB"'),
)


def test_what_changes_no_row_sets_nothing_aside(recipes, run_cli, tmp_path):
    """A finished store is finished, and one that was stopped goes on as it was cut."""
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    texts = tmp_path / "out/texts"
    whole = tree(texts)
    changed = [word for knob in KNOBS for word in ("--set", knob)]
    code, _, err = run_cli("extract-teacher", recipes[0], *changed)
    assert code == 0 and f"{texts}: already complete" in err and tree(texts) == whole
    assert f"{texts}: keeps its rows_per_shard = 64" in err
    for lost in ("manifest.json", "commits/00001.json"):
        (texts / lost).unlink()
    code, _, err = run_cli("extract-teacher", recipes[0], *changed)
    assert code == 0 and "160 rows in 3 shards, 2 already committed" in err
    again = tree(texts)
    assert again.pop("extract.jsonl") != whole.pop("extract.jsonl") and again == whole


def test_a_teacher_is_its_weights_not_its_path(recipes, run_cli, tmp_path, teacher_folder, monkeypatch):
    """Under ~, and copied elsewhere, it is the same: stores stand, and training takes both. Others are told apart."""
    from distillkit.store.format.manifest import Manifest
    from tests.conftest import make_teacher

    extract, train = recipes
    assert run_cli("extract-teacher", extract)[0] == 0
    whole = tree(tmp_path / "out")
    shutil.copytree(teacher_folder, tmp_path / "home/copied")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("~/copied", str(tmp_path / "home/copied")):
        model = f'teacher.model="local-dir:{name}"'
        code, _, err = run_cli("extract-teacher", extract, "--set", model)
        assert code == 0 and err.count("already complete") == 2 and tree(tmp_path / "out") == whole
        assert run_cli("extract-teacher", extract, "--set", model, "--set", f'out="{tmp_path}/b"')[0] == 0
    (record,) = Manifest.read(tmp_path / "b/texts").teachers.values()
    assert record["model"] == "local-dir:~/copied", "the store keeps the name that it was begun with"
    assert run_cli("train-student", train, "--set", f'data.texts="{tmp_path}/b/texts"')[0] == 0

    other = make_teacher(tmp_path / "other", seed=1)
    code, _, err = run_cli("extract-teacher", extract, "--set", f'teacher.model="local-dir:{other}"')
    assert code == 1 and "teachers.openclip.weights_sha256: '" in err.splitlines()[-1]
    assert tree(tmp_path / "out/texts") == {
        name.removeprefix("texts/"): mark for name, mark in whole.items() if name.startswith("texts/")
    }


def tree(folder):
    """Every file of a folder, and what is in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_evaluation_refuses_a_store_of_another_teacher(recipes, run_cli, tmp_path):
    from tests.conftest import make_teacher

    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1])
    other = make_teacher(tmp_path / "other", seed=1)
    model = f'teacher.model="local-dir:{other}"'
    assert run_cli("extract-teacher", recipes[0], "--set", model, "--overwrite")[0] == 0
    code, _, err = run_cli("evaluate", tmp_path / "out/run")
    assert code == 1 and err.count("\n") == 1
    assert "another teacher" in err and str(other) in err


def test_training_refuses_stores_of_two_teachers(recipes, run_cli, tmp_path):
    from tests.conftest import make_teacher

    run_cli("extract-teacher", recipes[0])
    other = make_teacher(tmp_path / "other", seed=1)
    run_cli(
        "extract-teacher", recipes[0], "--set", f'teacher.model="local-dir:{other}"', "--set", f'out="{tmp_path}/b"'
    )
    code, _, err = run_cli("train-student", recipes[1], "--set", f'data.texts="{tmp_path}/b/texts"')
    assert code == 1 and err.count("\n") == 1 and "different teachers" in err and str(other) in err


def test_a_lost_shard_is_extracted_again_alone(recipes, run_cli, tmp_path):
    from distillkit.store.format.manifest import Manifest

    run_cli("extract-teacher", recipes[0])
    store = tmp_path / "out/images"
    before, kept = Manifest.read(store).digest, (store / "openclip/image/c/0/0").stat().st_mtime_ns
    (store / "openclip/image/c/1/0").unlink()
    code, _, err = run_cli("extract-teacher", recipes[0])
    assert code == 0 and "shard 2 of 2 has lost files" in err
    assert Manifest.read(store).digest == before
    assert (store / "openclip/image/c/0/0").stat().st_mtime_ns == kept
    (store / "manifest.json").write_text("{")
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    assert Manifest.read(store).digest == before


def test_what_a_user_sets_by_hand_is_refused_in_one_line(recipes, run_cli):
    run_cli("extract-teacher", recipes[0])
    for knob, told in (
        ("student.embed_dim=48", "student.image, 48 wide, with teacher.text, 32 wide; set student.embed_dim"),
        ('device="cuda"', "PyTorch finds no GPU here"),
        ("data.batchsize=4", "unknown key 'batchsize', did you mean 'batch_size'?"),
    ):
        if "cuda" in knob and torch.cuda.is_available():
            continue
        code, _, err = run_cli("train-student", recipes[1], "--set", knob)
        assert code == 1 and told in err.splitlines()[-1] and "Traceback" not in err
    code, _, err = run_cli("train-student", recipes[0])
    assert code == 1 and "this is an extraction recipe; run: distillkit extract-teacher" in err
    for command, recipe, meant in (
        ("mine-neighbours", recipes[1], "train-student"),
        ("select-texts", recipes[0], "extract-teacher"),
        ("extract-teacher", "pipelines/select/demo_quick.toml", "select-texts"),
    ):
        code, _, err = run_cli(command, recipe)
        assert code == 1 and f"run: distillkit {meant} {recipe}" in err
