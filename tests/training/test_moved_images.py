"""Images that were moved after extraction: training, measurements, evaluation and a live teacher all find them."""

import shutil

import pytest

from tests.training.test_train import metrics


@pytest.fixture
def moved(recipes, run_cli, corpus, tmp_path):
    """Stores of a corpus that lies elsewhere by now, and the training recipe without a baseline and pixel cache."""
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    shutil.copytree(tmp_path / "out/images", tmp_path / "out/others")
    corpus.rename(tmp_path / "moved")
    text = recipes[1].read_text().replace("pixel_cache = 32\n", "")
    before, _, evals = text.partition("[baseline]")
    recipes[1].write_text(before + evals[evals.index("[[evals]]") :])
    return recipes[1]


def test_measurements_and_evaluation_find_moved_images(moved, run_cli, tmp_path):
    out, place = tmp_path / "out", tmp_path / "moved"
    check = f'validation={{ eval = {{ kind = "retrieval", store = "{out}/images" }}, best = "R@5", every_steps = 4 }}'
    knobs = ("--set", check, "--set", "optim.epochs=1.0")
    root = ("--set", f'data.root="{place}"')
    code, _, err = run_cli("train-student", moved, *knobs)
    assert code == 1 and f"where the images of {out}/images are by now, tell train-student in data.root" in err
    code, _, err = run_cli("train-student", moved, *knobs, *root)
    assert code == 0 and "R@5 0." in err
    assert run_cli("evaluate", out / "run")[0] == 0
    assert "data:image/jpeg" in (out / "run/report.html").read_text()

    # Stores of evaluations alone have a knob of their own, and none of these makes another run.
    others = ("--set", f'evals=[{{ kind = "retrieval", store = "{out}/others" }}]')
    assert "already trained" in run_cli("train-student", moved, *knobs, *root, *others)[2]
    code, _, err = run_cli("evaluate", out / "run")
    assert code == 1 and "source.root" not in err
    assert f"the images of {out}/others are by now" in err and 'data.roots = { "STORE" = "FOLDER" }' in err
    knob = ("--set", f'data.roots={{ "{out}/others" = "{place}" }}')
    assert "already trained" in run_cli("train-student", moved, *knobs, *root, *others, *knob)[2]
    assert run_cli("evaluate", out / "run")[0] == 0


def test_a_live_teacher_reads_pixels_where_training_does(moved, run_cli, tmp_path, teacher_folder):
    out = tmp_path / "out"
    text = moved.read_text().replace(
        f'images = "{out}/images"', f'mix = [{{ images = "{out}/images", root = "{tmp_path}/moved" }}]'
    )
    moved.write_text(text)
    knobs = ("--set", "optim.epochs=1.0", "--set", "log.every_steps=1")
    assert run_cli("train-student", moved, *knobs)[0] == 0
    live = text.replace("batch_size = 16\n", 'batch_size = 16\nsource = "live"\n', 1)
    live = live.replace("[student]", f'[teacher]\nkind = "openclip"\nmodel = "local-dir:{teacher_folder}"\n[student]')
    moved.write_text(live)
    code, _, err = run_cli("train-student", moved, *knobs, "--set", f'out="{tmp_path}/live"')
    assert code == 0, err
    for one, other in zip(metrics(out / "run"), metrics(tmp_path / "live"), strict=True):
        assert one["affinity"] == pytest.approx(other["affinity"], rel=5e-3)
