"""What is measured while training goes on: where the student is, at its own batch size, and refused in a line."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from distillkit import train
from distillkit.errors import TrainError
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evaluation import embed
from distillkit.evaluation.encode import Student
from distillkit.evaluation.numbers import numbers
from distillkit.recipe import Component
from distillkit.runfolder import RunFolder
from distillkit.store.reading.selection import select
from distillkit.system.atomic import as_json, parsed_json
from distillkit.training import validation
from distillkit.training.batches import Batches
from distillkit.training.course import Course
from distillkit.training.ranks import Ranks
from distillkit.training.validation import Validator
from tests.evaluation.worlds import make_world, quiet
from tests.pretend import pretend_gpu
from tests.system.test_device import FULL

EVAL = 'kind="linear_probe",store="{0}-asked",train="{0}-known",steps=10'
PROBE = f'validation={{{{eval={{{{{EVAL}}}}},best="top-1",every_steps=2}}}}'


@pytest.fixture(scope="module")
def world(tmp_path_factory, teacher_folder):
    return make_world(tmp_path_factory.mktemp("world"), teacher_folder)


def trained(world, name, *overrides):
    for part, rows in (("asked", np.arange(0, 24, 2)), ("known", np.arange(1, 24, 2))):
        if not (world / f"out/classed-{part}").exists():
            select(world / "out/classed", rows, world / f"out/classed-{part}")
    probe = PROBE.format(world / "out/classed")
    return train(world / "train.toml", quiet, overrides=[f'out="{world / name}"', "optim.epochs=1", probe, *overrides])


@pytest.mark.long
def test_probes_are_learned_where_the_student_is(world, monkeypatch):
    """To the numbers that a CPU finds; where everything must be deterministic, on the CPU."""
    places, told = [], []
    fit, run = LinearProbe._fit, Validator.run

    def fitted(self, x, *rest):
        places.append(x.device.type)
        return fit(self, x, *rest)

    def running(self, student, step):
        assert student.training
        places.clear()  # of the try-out, which is the CPU's
        weights = {name: value.detach().cpu() for name, value in student.state_dict().items()}
        told.append((weights, run(self, student, step)))
        assert student.training
        return told[-1][1]

    monkeypatch.setattr(LinearProbe, "_fit", fitted)
    monkeypatch.setattr(Validator, "run", running)
    with pretend_gpu():
        trained(world, "exact", "optim.deterministic=true")
        assert set(places) == {"cpu"}
        told.clear()
        folder = trained(world, "gpu")
        assert set(places) == {"cuda"} and told
    student, recipe = RunFolder(folder).load_student(), RunFolder(folder).recipe()
    alone = Validator(recipe, RunFolder(folder))
    for weights, there in told:
        student.load_state_dict(weights)
        assert there == numbers(alone.measure.run(Student(lambda: student, alone.roots), alone.open_store))


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_validation_without_memory_names_its_own_knobs(error, world, monkeypatch):
    """Not those of a training step, which has the memory that it needs."""

    def full(self, *given):
        raise error

    run = Validator.run

    def running(self, student, step):
        monkeypatch.setattr(LinearProbe, "_fit", full)
        return run(self, student, step)

    monkeypatch.setattr(Validator, "run", running)
    with pytest.raises(TrainError, match=r"^validation after step 2: .*; lower evaluation\.batch_size") as told:
        trained(world, f"full-{FULL.index(error)}")
    assert "accumulate" not in str(told.value)
    assert ("a smaller store in validation.eval" in str(told.value)) is (error in FULL[:4])


def test_a_validation_looks_at_as_many_images_at_once_as_an_evaluation(world, monkeypatch):
    sizes, batches = [], embed._batches

    def looked(files, rows, size, pace, ahead):
        sizes.append(pace.batch)
        return batches(files, rows, size, pace, ahead)

    monkeypatch.setattr(embed, "_batches", looked)
    trained(world, "small", "evaluation.batch_size=5")
    assert sizes and set(sizes) == {5}


def test_of_a_student_in_shards_the_first_rank_measures_and_the_others_wait_outside_of_any_collective():
    """A validation may take longer than a collective has patience."""
    for first in (True, False):
        told = []

        @contextmanager
        def one_first(told=told):
            told.append("begun")
            yield
            told.append("ended")

        student = SimpleNamespace(to=lambda device, told=told: told.append(f"to {device}"))
        ranks, measure = SimpleNamespace(one_first=one_first), lambda student, step, told=told: told.append("measured")
        learner = SimpleNamespace(trained=lambda student=student: student, sharded=True, ranks=ranks, device="cuda:0")
        Course._validate(SimpleNamespace(learner=learner, writes=first, _measure=measure), 5)
        inside = ["to cuda:0", "measured", "to cpu"] if first else []
        assert told == ["begun", *inside, "ended"]


def test_each_rank_looks_at_its_share_of_the_images(monkeypatch):
    looked = []
    monkeypatch.setattr(validation, "embedded", lambda student, files, rows, pace: looked.append([*rows]) or rows)
    monkeypatch.setattr(Ranks, "gathered", lambda self, mine, size, device: (mine, size))
    student = nn.Linear(1, 1)
    for rank in range(3):
        asked = SimpleNamespace(ranks=Ranks(rank, 3))
        assert Validator._embedded(asked, student, None, np.arange(7), None)[1] == 7
    assert looked == [[0, 1], [2, 3], [4, 5, 6]]
    looked.clear()
    Validator._embedded(SimpleNamespace(ranks=Ranks(2, 3)), student, None, np.arange(2), None)
    assert looked == [[0, 1]], "of fewer images than ranks each looks at all"


def test_half_precision_is_what_a_student_is_run_in_where_it_is_asked_for():
    """float16 on a GPU, bfloat16 on a CPU; nothing else."""
    seen = []

    class Looking(nn.Module):
        def forward(self, x):
            seen.append((x @ x.T).dtype)

    for device, there in (("cpu", torch.bfloat16), ("cuda", torch.float16)):
        with pretend_gpu():
            x = torch.ones(4, 4, device=device)
            for asked in (True, False):
                with embed.Pace(autocast=asked).precision(torch.device(device)):
                    Looking()(x)
        assert seen == [there, torch.float32]
        seen.clear()


@pytest.mark.parametrize(("room", "work"), [(Validator, "try_out"), (Batches, "prepare")])
def test_what_takes_long_is_done_while_no_rank_waits_in_a_collective(world, monkeypatch, room, work):
    """A validation that is tried out, pixels that are made ready: the others wait for the first one's word, which may
    take longer than a collective has patience.
    """
    inside, one_first, real = [], Ranks.one_first, getattr(room, work)

    @contextmanager
    def noted(self):
        with one_first(self):
            inside.append("begun")
            yield
            inside.append("ended")

    def done(self, *arguments):
        inside.append("done")
        real(self, *arguments)

    monkeypatch.setattr(Ranks, "one_first", noted)
    monkeypatch.setattr(room, work, done)
    trained(world, work)
    at = inside.index("done")
    assert inside[at - 1 : at + 2] == ["begun", "done", "ended"]


def test_numbers_of_other_stores_or_files_are_no_measure_for_those_of_now(tmp_path):
    """Of masks that have been replaced an old number may never be reached again. Older records do not tell of any."""
    lists, said, stores = tmp_path / "lists.txt", [], {"s": SimpleNamespace(digest="1")}

    def kept(step, value):
        """In a process of its own."""
        asked = Validator(SimpleNamespace(validation=None), SimpleNamespace(path=tmp_path))
        asked.spec = SimpleNamespace(best="mIoU", eval=Component(kind="patch_knn"))
        asked.open_store = stores.__getitem__
        asked.measure = SimpleNamespace(store="s", files=lambda open_store: {"lists": [lists]})
        asked.begin(said.append)
        asked._keep({"mIoU": value}, 1.0, nn.Linear(1, 1), step)
        return parsed_json((tmp_path / "best/best.json").read_bytes())["step"]

    lists.write_text("as it was")
    assert [kept(1, 0.9), kept(2, 0.5), kept(3, 0.91), kept(4, 0.5)] == [1, 1, 3, 3] and not said
    lists.write_text("replaced")
    assert [kept(5, 0.4), kept(6, 0.3)] == [5, 5] and "than at step 3, which did best" in said[0]
    stores["s"].digest = "2"
    assert [kept(7, 0.3), kept(8, 0.2)] == [7, 7] and len(said) == 2
    record = tmp_path / "best/best.json"
    record.write_bytes(as_json({"step": 7, "mIoU": 0.3}))
    assert [kept(9, 0.2), kept(10, 0.4)] == [7, 10] and len(said) == 2
    assert len([*tmp_path.glob("best.before-*")]) == len([*tmp_path.glob("validation.jsonl.before-*")]) == 2
