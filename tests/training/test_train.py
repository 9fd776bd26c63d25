"""Training stops and goes on as if nothing had happened, and says plainly what it cannot do."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors import safe_open

from distillkit.runfolder import RunFolder
from tests.records import without_checksum

TIMED = ("images_per_second", "wait_share", "seconds", "memory_gb")


def command(*arguments):
    return [sys.executable, "-c", "from distillkit.cli import main; main()", *map(str, arguments)]


def stamps(run):
    """When the logs of a run and its baseline were last written: they change when a process gets going."""
    return [
        path.stat().st_mtime_ns for path in (run / "metrics.jsonl", run / "baseline/metrics.jsonl") if path.is_file()
    ]


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]


@pytest.mark.long
def test_killed_at_any_moment_and_rerun_gives_the_same_student(recipes, run_cli, tmp_path):
    extract, train = recipes
    assert run_cli("extract-teacher", extract)[0] == 0
    knobs = ("--set", "optim.epochs=25.0")
    assert run_cli("train-student", train, *knobs, "--set", f'out="{tmp_path}/calm"')[0] == 0

    out, when, kills = tmp_path / "out/run", random.Random(0), 0
    while kills < 4 and not (out / "baseline/student.json").is_file():
        before = stamps(out)
        process = subprocess.Popen(command("train-student", train, *knobs), stderr=subprocess.DEVNULL)
        while stamps(out) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(when.uniform(0, 1))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills > 0
    assert run_cli("train-student", train, *knobs)[0] == 0
    for part in ("", "baseline"):
        calm, killed = tmp_path / "calm" / part, out / part
        assert (killed / "student.safetensors").read_bytes() == (calm / "student.safetensors").read_bytes()
        assert metrics(killed) == metrics(calm)


def test_the_student_does_not_depend_on_the_number_of_workers(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    for workers in (1, 3):
        out = f'out="{tmp_path}/w{workers}"'
        assert run_cli("train-student", recipes[1], "--set", f"data.workers={workers}", "--set", out)[0] == 0
    one, three = (tmp_path / f"w{workers}/student.safetensors" for workers in (1, 3))
    assert one.read_bytes() == three.read_bytes()


def test_a_run_folder_in_use_is_refused(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    with RunFolder(tmp_path / "out/run").locked():
        code, _, err = run_cli("train-student", recipes[1])
    assert code == 1 and err.count("\n") == 1 and "another process is using this run folder" in err


def test_a_run_folder_that_is_a_link_is_in_use_by_either_name_and_stays_where_it_leads_to(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    there, link = tmp_path / "large/first", tmp_path / "out/run"
    there.mkdir(parents=True)
    link.symlink_to(there)
    with RunFolder(there).locked():
        code, _, err = run_cli("train-student", recipes[1])
    assert code == 1 and "another process is using this run folder" in err
    assert run_cli("train-student", recipes[1])[0] == 0
    code, _, err = run_cli("train-student", recipes[1], "--set", "optim.lr=0.002", "--overwrite")
    assert code == 0 and len(list(there.parent.glob("first.before-*"))) == 1, err
    assert link.is_symlink() and RunFolder(there).finished


def test_nan_stops_with_term_step_and_keys(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    code, _, err = run_cli("train-student", recipes[1], "--set", "optim.lr=1e30", "--set", "optim.warmup_epochs=0.0")
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("error: step ") and "affinity = nan" in last and "images/" in last
    assert not (tmp_path / "out/run/student.json").exists()


def test_a_recipe_without_what_a_loss_needs_is_refused(recipes, run_cli):
    run_cli("extract-teacher", recipes[0])
    text = recipes[1].read_text().replace("texts =", "# texts =")
    recipes[1].write_text(text)
    code, _, err = run_cli("train-student", recipes[1])
    assert code == 1 and "losses.affinity needs teacher.text, the teacher gives image" in err


def test_mixed_images_are_refused_by_the_name_of_the_term(recipes, run_cli):
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    code, _, err = run_cli("train-student", recipes[1], "--set", "data.augment.mixup=0.8")
    assert code == 1 and "losses.affinity: data.augment mixes images, and no teacher has said anything" in err


def test_a_damaged_run_is_not_a_student(recipes, run_cli, tmp_path):
    code, _, err = run_cli("evaluate", tmp_path / "out/run")
    assert code == 1 and "is no run folder" in err
    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1])
    told = f"error: {tmp_path}/out/images: is a feature store, not the folder of a run; name a run\n"
    assert run_cli("evaluate", tmp_path / "out/images")[::2] == (1, told)
    (tmp_path / "out/run/student.json").unlink()
    code, _, err = run_cli("evaluate", tmp_path / "out/run")
    assert code == 1 and err.endswith(f"has not finished; rerun: distillkit train-student {recipes[1]}\n")
    record = json.loads((tmp_path / "out/run/recipe.json").read_text())
    # What would train anew, or is of no run here, is not told; of a run from before commands were kept, what is known.
    for command, told in (
        (f"distillkit train-student {recipes[1]} --overwrite --set seed=4", f"{recipes[1]} --set seed=4\n"),
        (None, "RECIPE, where RECIPE is the recipe that it was begun with\n"),
    ):
        (tmp_path / "out/run/recipe.json").write_text(without_checksum(record | {"command": command}))
        assert run_cli("evaluate", tmp_path / "out/run")[2].endswith(f"rerun: distillkit train-student {told}")


@pytest.mark.long
@pytest.mark.parametrize("knob", ["data.augment.flip=0.0", "seed=4"])
def test_what_a_student_depends_on_makes_it_anew(recipes, run_cli, tmp_path, knob):
    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1])
    before = (tmp_path / "out/run/student.safetensors").read_bytes()
    assert "training anew" in run_cli("train-student", recipes[1], "--overwrite", "--set", knob)[2]
    assert (tmp_path / "out/run/student.safetensors").read_bytes() != before


def test_weights_are_safetensors_without_the_objective(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1])
    with safe_open(tmp_path / "out/run/student.safetensors", "pt") as file:
        assert all(not name.startswith("objective") for name in file.keys())  # noqa: SIM118
    shutil.rmtree(tmp_path / "out/run/checkpoints")
    assert "already trained" in run_cli("train-student", recipes[1])[2]


def test_other_packages_are_told_and_train_no_other_student(recipes, run_cli, tmp_path, monkeypatch):
    run_cli("extract-teacher", recipes[0])
    monkeypatch.setattr("distillkit.train._train", stop_before_the_first_step)
    with pytest.raises(RuntimeError, match="stopped"):
        run_cli("train-student", recipes[1])
    monkeypatch.undo()
    record = tmp_path / "out/run/recipe.json"
    record.write_text(without_checksum(json.loads(record.read_text().replace('"torch": "', '"torch": "0.'))))
    code, _, err = run_cli("train-student", recipes[1])
    assert code == 0 and "begun with other packages (torch: '0." in err and "training anew" not in err


def stop_before_the_first_step(*arguments):
    raise RuntimeError("stopped")
