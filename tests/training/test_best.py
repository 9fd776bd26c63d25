"""RUN/best opens like a run: loaded, measured, compared, a teacher, inherited; and says on what it was selected."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distillkit.errors import StoreError, TrainError
from distillkit.evals import Measure
from distillkit.evaluation.rows import read_rows, write_rows
from distillkit.recipe import Component
from distillkit.report.weights import measured_weights
from distillkit.runfolder import RunFolder
from distillkit.store.reading.selection import select
from distillkit.training.batches import Batches
from tests.conftest import EXTRACT, TRAIN, draw
from tests.weights import replace_weights

VALIDATION = '[validation]\nevery_steps = 2\nbest = "R@5"\neval = {{ kind = "retrieval", store = "{}" }}\n'


def _moved(value):
    return value * 1.01 if value.is_floating_point() else value


@pytest.fixture(scope="module")
def trained(tmp_path_factory, teacher_folder):
    """A run whose best weights are not its last, evaluated; and so is its best/."""
    from distillkit import evaluate, extract, train

    folder = tmp_path_factory.mktemp("best")
    corpus = draw(folder / "corpus", 40)
    (folder / "extract.toml").write_text(EXTRACT.format(out=folder / "out", corpus=corpus, teacher=teacher_folder))
    extract(folder / "extract.toml", lambda line: None)
    text = TRAIN.format(out=folder / "out").replace("epochs = 6", "epochs = 3")
    (folder / "train.toml").write_text(text + VALIDATION.format(folder / "out/images"))
    run = train(folder / "train.toml", lambda line: None)
    for one in (run, run / "baseline"):  # so that the weights differ, whichever step did best
        weights = load_file(one / "best/student.safetensors")
        replace_weights(one / "best", {name: _moved(value) for name, value in weights.items()})
    told: list[str] = []
    evaluate(run, told.append)
    evaluate(run / "best", told.append)
    (folder / "told").write_text("\n".join(told))
    return run


def test_the_weights_are_the_best_ones_and_all_else_is_the_runs(trained):
    best, run = RunFolder(trained / "best"), RunFolder(trained)
    assert best.recipe() == run.recipe() and best.facts() == run.facts() and best.history() == run.history()
    wanted = load_file(trained / "best/student.safetensors")
    assert all(torch.equal(value, wanted[name]) for name, value in best.load_student().state_dict().items())
    record = json.loads((trained / "best/best.json").read_text())
    assert best.weights()["step"] == record["step"] and best.weights()["of"] == run.facts()["steps"]
    assert best.weights()["selected"]["number"] == "R@5" and run.weights()["selected"] is None


def test_they_embed_as_a_student_at_work(trained):
    import distillkit

    picture = trained.parents[1] / "corpus/images/000.png"
    best, last = (distillkit.load_student(folder).embed_images([picture]) for folder in (trained / "best", trained))
    weights = load_file(trained / "best/student.safetensors")
    module = distillkit.load_student(str(trained / "best")).module
    assert all(torch.equal(value.cpu(), weights[name]) for name, value in module.state_dict().items())
    assert not torch.equal(best, last)


def test_the_report_says_which_weights_it_measured_and_on_what_they_were_selected(trained):
    last, best = ((folder / "report.html").read_text() for folder in (trained, trained / "best"))
    steps = RunFolder(trained).facts()["steps"]
    assert f"The weights are those of the last step, {steps}." in last and "selected" not in last.split("resolved")[0]
    step = json.loads((trained / "best/best.json").read_text())["step"]
    told = f"those of step {step} of {steps}, selected for the best R@5 ("
    assert told in best and f"of retrieval on {trained.parent / 'images'}." in best
    assert f"{trained}/best has those of step {step}, which did best in validation" in last and "has those" not in best
    assert f"{trained}/best has those of step {step}, " in (trained.parents[1] / "told").read_text()
    assert "so these numbers flatter them" in best  # it is measured on the store that it was selected on
    assert told in (trained / "best/report.md").read_text().replace("\\", "")
    assert told in (trained.parents[1] / "told").read_text()
    evaluation = json.loads((trained / "best/evaluation.json").read_text())
    assert evaluation["weights"]["student"]["selected"]["number"] == "R@5"


def test_the_report_says_in_what_the_selected_weights_are_worse_than_the_last(trained, tmp_path):
    """They may be selected by one number, and fall behind in another."""
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    for folder, cosine in ((run, 0.9), (run / "best", 0.8)):
        path = folder / "evaluation/retrieval.arrow"
        rows = read_rows(path)
        noise = np.random.default_rng(0).normal(size=40) / 100
        answers = {
            who: replace(
                one,
                columns={"rank": np.ones(40, np.int64), "margin": one.columns["margin"], "cosine": cosine + noise},
                measures=(Measure("R@1", "rank", within=1, chance=0.1), Measure("cosine", "cosine")),
            )
            for who, one in rows.answers.items()
        }
        write_rows(path, replace(rows, answers=answers))
    told = measured_weights(RunFolder(run / "best"), None, [])
    assert "worse than those of the last step in cosine of retrieval (0.7994 against 0.8994)." in told
    assert "R@1 of" not in told and "worse" not in measured_weights(RunFolder(run), None, [])
    (run / "evaluation/retrieval.arrow").write_bytes(b"damaged")
    assert "worse" not in measured_weights(RunFolder(run / "best"), None, [])


def test_beside_best_weights_the_baselines_best_are_measured(trained):
    from distillkit.evaluation.network import network_of

    networks = json.loads((trained / "best/evaluation.json").read_text())["networks"]
    recipe = RunFolder(trained).recipe()
    assert networks["baseline"] == network_of(RunFolder(trained / "baseline/best"), recipe)
    assert networks["student"] == network_of(RunFolder(trained / "best"), recipe)


def test_the_last_and_the_best_weights_are_compared(trained, run_cli):
    code, out, err = run_cli("compare", trained, trained / "best", "--table", "md")
    assert code == 0 and str(trained / "best") in out, err
    assert run_cli("compare", trained / "baseline/best", trained / "best", "--table", "md")[0] == 0


def test_it_is_a_teacher_and_is_inherited(trained):
    teacher = Component(kind="run", run=str(trained / "best"), device="cpu").build("teachers")
    other = Component(kind="run", run=str(trained), device="cpu").build("teachers")
    assert teacher.fingerprint()["weights_sha256"] != other.fingerprint()["weights_sha256"]
    knobs = RunFolder(trained).recipe().student.model_dump() | {"inherit": f"run:{trained}/best"}
    student = Component(**knobs).build("students")
    student.begin()
    wanted = load_file(trained / "best/student.safetensors")
    assert all(torch.equal(value, wanted[name]) for name, value in student.state_dict().items())


def test_what_is_no_best_is_one_line(trained, tmp_path, run_cli):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "best/student.safetensors").write_bytes(b"x")
    code, _, err = run_cli("evaluate", run / "best")
    assert code == 1 and re.search(r"best/student.safetensors: damaged .*measure the run itself", err), err
    (run / "student.json").unlink()
    with pytest.raises(TrainError, match=r"best: has not finished; rerun: distillkit train-student"):
        RunFolder(run / "best").load_student()
    (run / "best/best.json").unlink()
    with pytest.raises(TrainError, match="best: is no run folder"):
        RunFolder(run / "best").recipe()


def _measured(student, eval_, best="R@5"):
    return f'validation={{every_steps = 1, best = "{best}", eval = {eval_}}}'


@pytest.mark.parametrize("changed", ["its store's rows", "its kind, and the number that decides", "nothing"])
def test_a_run_that_goes_on_with_another_validation_chooses_anew(student, monkeypatch, tmp_path, changed):
    """Of a few images R@5 is higher: no step could ever have been better than one that was measured on them."""
    view = tmp_path / "some"
    asked = _measured(student, f'{{kind = "retrieval", store = "{view}"}}')
    select(student.stores / "images", np.arange(8), view)
    real = Batches.stream

    def stopped(self, *arguments):
        for batch in real(self, *arguments):
            if batch.step == 3:
                raise StoreError("images: damaged shard")
            yield batch

    monkeypatch.setattr(Batches, "stream", stopped)
    assert student(asked)[0] == 1
    monkeypatch.undo()
    before = (student.run / "best/best.json").read_bytes()
    if changed == "its store's rows":
        shutil.rmtree(view)
        select(student.stores / "images", np.arange(40), view)
    elif changed != "nothing":
        asked = _measured(student, f'{{kind = "agreement", store = "{student.stores}/images"}}', "cosine")
    code, err = student(asked)
    assert code == 0, err
    (aside,) = student.run.glob("best.before-*") if changed != "nothing" else [student.run / "best"]
    steps = [json.loads(line)["step"] for line in (student.run / "validation.jsonl").read_text().splitlines()]
    if changed == "nothing":
        assert "validation.eval" not in err and steps[:4] == [1, 2, 3, 4]
        return
    assert err.count("validation.eval is another now than at step ") == 1 and aside.name in err
    assert (aside / "best.json").read_bytes() == before
    assert [*student.run.glob("validation.jsonl.before-*")] and steps[0] == 3  # where it stood, by the new measure
    selected = RunFolder(student.run / "best").weights()["selected"]
    assert selected["number"] == ("cosine" if "cosine" in asked else "R@5")
    lines = [json.loads(line) for line in (student.run / "validation.jsonl").read_text().splitlines()]
    assert selected["value"] == max(line[selected["number"]] for line in lines)


@pytest.mark.parametrize(("number", "chosen"), [("R@5", max), ("median rank", min)])
def test_the_best_is_the_lowest_where_less_is_better(student, number, chosen):
    asked = _measured(student, f'{{kind = "retrieval", store = "{student.stores}/images"}}', number)
    assert student(asked, "optim.epochs=4")[0] == 0
    lines = [json.loads(line) for line in (student.run / "validation.jsonl").read_text().splitlines()]
    record, best = json.loads((student.run / "best/best.json").read_text()), chosen(line[number] for line in lines)
    assert len({line[number] for line in lines}) > 1 and record[number] == best
    assert record["step"] == next(line["step"] for line in lines if line[number] == best)


@pytest.mark.parametrize("number", ["images", "R@5.low"])
def test_what_is_no_measure_chooses_nothing(student, number):
    code, err = student(_measured(student, f'{{kind = "retrieval", store = "{student.stores}/images"}}', number))
    assert code == 1 and f"validation.best: this eval gives no '{number}'; it gives: R@1" in err.splitlines()[-1]


def test_what_selected_weights_is_told_of_them_though_the_recipe_asks_for_something_else_now(student):
    retrieval = f'{{kind = "retrieval", store = "{student.stores}/images"}}'
    assert student(_measured(student, retrieval))[0] == 0
    assert student(_measured(student, f'{{kind = "agreement", store = "{student.stores}/images"}}', "cosine"))[0] == 0
    assert RunFolder(student.run / "best").weights()["selected"]["eval"]["kind"] == "retrieval"
