"""Memory that has ended is one line, wherever it does: whose it is, and what helps."""

import resource

import pytest
import torch

from distillkit import mine, train
from distillkit.cli import ending
from distillkit.embedding.student import Student
from distillkit.errors import DistillkitError, TeacherError
from distillkit.evaluation import embed as looking
from distillkit.mining.exact import Exact
from distillkit.system.fitting import fitting
from distillkit.teachers.timm import Timm
from tests.conftest import TRAIN
from tests.system.test_device import FULL
from tests.teachers.test_timm import example

OF_A_GPU = FULL[:4]


def raising(error):
    def full(*given, **knobs):
        raise error

    return full


@pytest.mark.parametrize("error", FULL, ids=str)
def test_every_command_ends_in_a_line_that_says_whose_memory_it_was(error, capsys):
    with pytest.raises(SystemExit) as stopped, ending.in_one_line():
        raise error
    told = capsys.readouterr().err
    assert stopped.value.code == 1 and told.startswith("error: ") and told.count("\n") == 1
    gpu = error in OF_A_GPU
    assert ("the GPU has not the memory for it" in told) is gpu and ('set device = "cpu"' in told) is gpu
    assert ("this machine has not the memory for it" in told) is not gpu


@pytest.mark.parametrize("limited", [True, False])
def test_a_primitive_that_is_not_made_is_want_of_memory_where_that_has_a_limit(limited, monkeypatch, capsys):
    """As oneDNN says it under a small `ulimit -v`."""
    most = 1 << 32 if limited else resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda which: (most, resource.RLIM_INFINITY))
    with pytest.raises(SystemExit if limited else RuntimeError), ending.in_one_line():
        raise RuntimeError("could not create a primitive")
    assert ("this machine has not the memory for it" in capsys.readouterr().err) is limited


def test_other_errors_keep_their_traceback():
    for error in (RuntimeError("mat1 and mat2"), torch.AcceleratorError("CUDA error: an illegal memory access")):
        with pytest.raises(type(error)), ending.in_one_line():
            raise error
        with pytest.raises(type(error)), fitting("a search", "lower batch_size"):
            raise error


def test_a_library_raises_an_error_of_ours():
    wanted = r"^a search: the GPU has not the memory for it \(CUDA .*\); lower it, or set the moon"
    with pytest.raises(DistillkitError, match=wanted), fitting("a search", "lower it", "the moon"):
        raise FULL[0]


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_teacher_that_a_card_has_no_room_for_is_one_line(error, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "to", raising(error))
    with pytest.raises(TeacherError, match=r"^the weights of the teacher: .* has not the memory for it"):
        Timm(**example(tmp_path))


@pytest.fixture(scope="module")
def trained(toy_stores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    text = TRAIN.format(out=toy_stores / "out").split("[baseline]")[0].replace(f"{toy_stores}/out/run", f"{folder}/run")
    (folder / "train.toml").write_text(text.replace("epochs = 6", "epochs = 1"))
    (folder / "more.toml").write_text(f'name="more"\n[[evals]]\nkind="retrieval"\nstore="{toy_stores}/out/images"\n')
    return train(folder / "train.toml")


def ends(run_cli, error, *words):
    """The line that a command ends in; it speaks of another device where the GPU was full."""
    code, _, err = run_cli(*words)
    assert code == 1 and "Traceback" not in err, err
    told = err.splitlines()[-1]
    assert ("the GPU has not" in told) is ("cpu" in told.split("; lower")[-1]) is (error in OF_A_GPU), told
    return told


@pytest.mark.parametrize("error", FULL, ids=str)
def test_an_evaluation_ends_in_a_line_with_its_cure(error, trained, run_cli, monkeypatch):
    monkeypatch.setattr(looking, "_batches", raising(error))
    told = ends(run_cli, error, "evaluate", trained, "--eval", trained.parent / "more.toml")
    assert told.startswith("error: evals retrieval: ") and "; lower evaluation.batch_size" in told


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_student_at_work_ends_in_a_line_with_its_cure(error, trained, toy_stores, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(Student, "embed", raising(error))
    picture = next((toy_stores / "corpus/images").iterdir())
    told = ends(run_cli, error, "search", trained, "--image", picture, "--in", toy_stores / "out/images")
    assert told.startswith("error: search: ") and "; lower batch_size (--batch-size)" in told
    told = ends(run_cli, error, "embed", trained, picture, "--out", tmp_path / "vectors.npy")
    assert told.startswith("error: embed: ") and "; lower batch_size (--batch-size)" in told


@pytest.mark.parametrize("error", FULL, ids=str)
def test_mining_ends_in_a_line_with_its_cure(error, toy_stores, run_cli, tmp_path, monkeypatch):
    """In this process; from another one comes what is an error of ours."""
    monkeypatch.setattr(
        "distillkit.mining.process.mine_apart",
        lambda recipe, say, command, part: mine.mine_here(recipe, 1, say, command),
    )
    monkeypatch.setattr(Exact, "search", raising(error))
    recipe = tmp_path / "mine.toml"
    out = toy_stores / "out"
    recipe.write_text(f'name = "full"\nqueries = "{out}/images"\ncorpus = "{out}/texts"\nk = 5\n')
    told = ends(run_cli, error, "mine-neighbours", recipe)
    assert told.startswith("error: mining: ") and "; lower rows_per_shard or max_memory" in told
