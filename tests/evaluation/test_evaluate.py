"""Evaluate anything: other evals than the recipe's, once each; and what cannot be measured is one line."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from distillkit import evaluate
from distillkit.errors import DistillkitError
from distillkit.evaluate import _once
from distillkit.evaluation.rows import read_rows
from distillkit.runfolder import RunFolder
from tests.conftest import make_teacher
from tests.evaluation.worlds import EXTRACT, results
from tests.records import without_checksum
from tests.weights import replace_weights


@pytest.fixture
def count(monkeypatch):
    """How many images each forward of a student was of."""
    from distillkit.students.timm_image import TimmImage

    forwards, embed = [], TimmImage.embed
    monkeypatch.setattr(TimmImage, "embed", lambda self, pixels: forwards.append(len(pixels)) or embed(self, pixels))
    return forwards


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_other_evals_cost_only_themselves_and_stay(run, world, run_cli, count):
    before = results(run)["results"]["retrieval"]
    code, out, err = run_cli("evaluate", run, "--eval", world / "more.toml")
    assert code == 0, err
    assert out.strip() == str(run / "report.html")
    assert sorted(count) == [24, 24]  # student and baseline, once each, for three evals
    found = results(run)
    assert found["results"].keys() == {"retrieval", "zero_shot", "knn", "agreement"}
    assert found["results"]["retrieval"] == before
    assert found["results"]["agreement"]["teacher"]["cosine"] == pytest.approx(1.0)
    asked = found["evals"]["zero_shot"]
    assert asked["names"] == ["a circle", "a square", "a stripe"] and asked["prompts"]["count"] == 6
    assert len(asked["prompts"]["sha256"]) == len(asked["names_sha256"]) == 64 and asked["rows"]
    plain = (run / "report.md").read_text()
    assert "zero\\_shot" in plain and asked["typed"] == ["--eval", str(world / "more.toml")]
    assert f"\ndistillkit evaluate {run} --eval {world / 'more.toml'}\n" in plain
    made = plain.partition("Make it again")[2]
    assert "distillkit extract-teacher" in made and f"{world}/out/classed" in plain.partition("Stores")[2]
    assert "typed" not in found["evals"]["retrieval"] and "--eval FILE" not in plain
    assert found["results"]["knn"]["teacher"]["also in train"] == 24.0
    assert "24 also in train, where each is no example for itself" in plain

    # Again: nothing is asked, nothing is written. With one more knob: only that eval, and of kept features.
    count.clear()
    first = stamps(run)
    assert "already evaluated" in run_cli("evaluate", run, "--eval", world / "more.toml")[2]
    assert "already evaluated" in run_cli("evaluate", run)[2]
    assert stamps(run) == first and not count
    code, _, err = run_cli("evaluate", run, "--eval", world / "more.toml", "--set", "evals.1.k=1")
    assert code == 0 and not count
    kept = {path for path, stamp in stamps(run / "evaluation").items() if first[path] == stamp}
    assert {path.name for path in kept} >= {"zero_shot.arrow", "retrieval.arrow"}
    assert run / "evaluation/knn.arrow" not in kept


def test_other_weights_are_asked_anew(run, run_cli, count):
    student = RunFolder(run).load_student()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.5)
    replace_weights(run, student.state_dict())
    before = read_rows(run / "evaluation/retrieval.arrow")
    assert run_cli("evaluate", run)[0] == 0 and count == [40]  # the baseline is the same one
    after = read_rows(run / "evaluation/retrieval.arrow")
    assert (after.answers["baseline"].columns["rank"] == before.answers["baseline"].columns["rank"]).all()
    assert after.networks["student"] != before.networks["student"]


def test_autocast_is_told_apart(run, run_cli, count):
    assert run_cli("evaluate", run, "--set", "evaluation.autocast=true")[0] == 0
    assert sum(count) == 80
    assert all(network.endswith("+autocast") for who, network in results(run)["networks"].items() if who != "teacher")


def test_batches_and_threads_change_nothing(run, run_cli, count):
    before = results(run)["results"]
    shutil.rmtree(run / "evaluation")
    knobs = ("--set", "evaluation.batch_size=7", "--set", "evaluation.workers=3")
    assert run_cli("evaluate", run, *knobs)[0] == 0 and max(count) <= 8
    for who, found in results(run)["results"]["retrieval"].items():
        for name, value in found.items():
            assert value == pytest.approx(before["retrieval"][who][name], abs=0.03)


def test_who_looks_at_images_tells_how_far_it_is(run, run_cli, monkeypatch):
    monkeypatch.setattr("distillkit.system.progress._EVERY", 0.0)
    shutil.rmtree(run / "evaluation")
    err = run_cli("evaluate", run, "--set", "evaluation.batch_size=7")[2]
    assert re.search(r": images 8/40  .*/s  .+ left\n", err), err


def test_several_runs_at_once_and_one_that_is_none_stops_all(world, run, run_cli, tmp_path):
    other = shutil.copytree(world / "b@0", tmp_path / "other")
    code, out, _ = run_cli("evaluate", run, other, "--eval", world / "more.toml")
    assert code == 0 and out.split() == [str(run / "report.html"), str(other / "report.html")]
    (other / "student.json").unlink()
    first = stamps(run)
    code, out, err = run_cli("evaluate", run, other, "--eval", world / "more.toml", "--set", "evals.1.k=1")
    assert (code, out) == (1, "") and err.count("\n") == 1 and "has not finished" in err
    assert stamps(run) == first


def test_the_teacher_alone(world, run_cli, tmp_path):
    out = tmp_path / "alone"
    code, printed, err = run_cli(
        "evaluate", "--teacher", world / "out/images", "--eval", world / "more.toml", "--out", out
    )
    assert code == 0, err
    assert printed.strip() == str(out / "evaluation.json")
    assert results(out)["results"]["knn"].keys() == {"teacher"}
    for words in (["--teacher", world / "out/images"], ["--teacher", world / "out/images", "x", "--eval", "y"], []):
        assert run_cli("evaluate", *words)[0] == 2


def refused(run_cli, *words):
    """The one line that a command ends with."""
    code, out, err = run_cli(*words)
    assert (code, out) == (1, "") and err.count("error: ") == 1 and "Traceback" not in err
    return err.splitlines()[-1]


def test_what_cannot_be_measured_is_one_line_and_nothing_half_written(world, run, run_cli, tmp_path):
    more, first = world / "more.toml", stamps(run)

    def with_(old, new):
        path = tmp_path / "other.toml"
        path.write_text(more.read_text().replace(old, new))
        return refused(run_cli, "evaluate", run, "--eval", path)

    assert "no complete feature store" in with_(f"{world}/out/classed", f"{world}/out/nowhere")
    assert "unknown key 'kk'" in with_("k = 3", "kk = 3")
    assert "this is a training recipe" in refused(run_cli, "evaluate", run, "--eval", world / "train.toml")
    assert "no such recipe" in refused(run_cli, "evaluate", run, "--eval", tmp_path / "absent.toml")
    assert "unknown key 'optm'" in refused(run_cli, "evaluate", run, "--set", "optm.lr=1.0")
    assert stamps(run) == first


def test_two_evals_of_one_name_are_refused(world, run, run_cli, tmp_path):
    path = tmp_path / "twice.toml"
    path.write_text((world / "more.toml").read_text().replace('kind = "knn"', 'kind = "knn"\nname = "zero_shot"'))
    assert "two are called 'zero_shot'; give each a `name`" in refused(run_cli, "evaluate", run, "--eval", path)


def test_a_store_of_another_teacher_is_refused(world, run, run_cli, tmp_path):
    from distillkit import extract

    other = make_teacher(tmp_path / "other", seed=1)
    places = {"out": tmp_path / "out", "corpus": world / "corpus", "teacher": other}
    (tmp_path / "extract.toml").write_text(EXTRACT.format(**places))
    extract(tmp_path / "extract.toml", lambda line: None)
    for room in ("classed", "prompts"):
        path = tmp_path / "more.toml"
        path.write_text((world / "more.toml").read_text().replace(f"{world}/out/{room}", f"{tmp_path}/out/{room}"))
        assert f"{tmp_path}/out/{room}: made by another teacher than" in refused(
            run_cli, "evaluate", run, "--eval", path
        )


def test_a_student_that_says_nan_is_named(run, run_cli):
    from safetensors.torch import load_file

    weights = load_file(run / "student.safetensors")
    replace_weights(run, {name: value * float("nan") for name, value in weights.items()})
    told = refused(run_cli, "evaluate", run)
    assert f"{run}: gives NaN or infinity for 40 of 40 rows" in told and "images/000.png" in told


def test_images_that_are_gone_are_named_and_a_new_place_mends_it(world, run, run_cli, teacher_folder, tmp_path):
    from tests.evaluation.worlds import make_world, train_run

    here = make_world(tmp_path / "here", teacher_folder)
    made = train_run(here, "run", "optim.epochs=1.0", "evals=[]", f'data.images="{here}/out/images"')
    (here / "corpus").rename(tmp_path / "moved")
    told = refused(run_cli, "evaluate", made, "--eval", here / "more.toml")
    assert str(here) in told and "data.roots" in told
    assert not list((made / "evaluation").glob("*.arrow")) and not (made / "evaluation.json").exists()
    with (here / "more.toml").open("a") as file:
        file.write(f'[roots]\n"{here}/out/classed" = "{tmp_path}/moved/classed"\n')
    code, _, err = run_cli("evaluate", made, "--eval", here / "more.toml")
    assert code == 0, err


def test_a_damaged_table_is_measured_again(run, run_cli, count):
    (run / "evaluation/retrieval.arrow").write_bytes(b"ARROW1")
    assert run_cli("evaluate", run)[0] == 0 and not count  # its features are kept
    assert read_rows(run / "evaluation/retrieval.arrow").answers.keys() == {"teacher", "student", "baseline"}


def test_page_measures_anew_what_has_changed_since_and_says_what(run, run_cli):
    for key, was, told in (("stores", "0" * 64, "{} has changed since"), ("distillkit", "0.0.1", "distillkit 0.0.1 m")):
        record = results(run)
        asked = record["evals"]["retrieval"]
        store = next(iter(asked["stores"]))
        asked[key] = {store: was} if key == "stores" else was
        (run / "evaluation.json").write_text(without_checksum(record))
        (run / "evaluation/retrieval.arrow").unlink()
        code, _, err = run_cli("evaluate", run, "--page")
        assert code == 0 and f"{run}: retrieval: measured anew, as {told.format(store)}" in err, err
        assert err.count("measured anew") == 1 and "of what was kept" not in err
        assert "measured anew" not in run_cli("evaluate", run, "--page")[2]


def test_killed_between_numbers_and_report_it_is_not_done(run, run_cli):
    (run / "evaluated.json").unlink()
    assert "already evaluated" not in run_cli("evaluate", run)[2]
    assert json.loads((run / "evaluated.json").read_text()).keys() == {"evaluation"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_another_replaces_before_the_report_is_whole_is_measured_again(run, run_cli, monkeypatch, when):
    """Else its rows stand beside the numbers of the other, or are not found: "there is no such key; leave them out"."""
    store = Path(next(iter(results(run)["evals"]["retrieval"]["stores"])))
    manifest, write = (store / "manifest.json").read_text(), evaluate.write_report

    def replaced(*asked):
        page = write(*asked) if when == "after" else None
        other = json.loads(manifest) | {"made_with": {"torch": "0"}}
        (store / "manifest.json").write_text(json.dumps(other))
        return page or write(*asked)

    monkeypatch.setattr(evaluate, "write_report", replaced)
    try:
        told = refused(run_cli, "evaluate", run, "--page")
    finally:
        (store / "manifest.json").write_text(manifest)  # many runs are measured on it
    assert f"{store}: another store took its place while it was measured" in told and "run the same command" in told
    assert not (run / "evaluated.json").exists()
    monkeypatch.undo()
    assert run_cli("evaluate", run)[0] == 0 and (run / "evaluated.json").exists()


def test_the_report_of_what_was_measured_is_written_anew_where_it_is_asked_for(run, run_cli, count):
    run_cli("evaluate", run, "--page")  # of this copy, which lies elsewhere
    told, asked = (run / "report.html").read_bytes(), stamps(run / "evaluation")
    for name in ("report.html", "report.md"):
        (run / name).write_text("as an older version wrote it")
    assert "already evaluated, nothing to do; add --page to write its report anew" in run_cli("evaluate", run)[2]
    code, out, err = run_cli("evaluate", run, "--page")
    assert (code, out.strip()) == (0, str(run / "report.html")) and "report is written anew" in err
    assert (run / "report.html").read_bytes() == told and "older version" not in (run / "report.md").read_text()
    assert not count and stamps(run / "evaluation") == asked
    assert "nothing to do" in run_cli("evaluate", run)[2]


def test_killed_while_a_report_is_written_anew_it_is_not_done(run, run_cli, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as now:
        now.setattr("distillkit.evaluate.write_report", killed)
        run_cli("evaluate", run, "--page")
    assert "already evaluated" not in run_cli("evaluate", run)[2]


def test_from_python(run, world):
    from distillkit import evaluate

    assert evaluate(run, lambda line: None, evals=world / "more.toml") == run / "report.html"
    with pytest.raises(DistillkitError, match="is no run folder"):
        evaluate(run / "nowhere")


def test_a_class_that_train_has_no_image_of_is_named_where_it_is_asked(run, world, tmp_path, run_cli):
    from distillkit.stores import view

    view(world / "out/classed", tmp_path / "train", labels="circle,square")
    evals = tmp_path / "evals.toml"
    asked = f'[[evals]]\nkind = "knn"\ntrain = "{tmp_path}/train"\nstore = "{world}/out/classed"\n'
    evals.write_text(f'name = "more"\n{asked}')
    told = f"8 of 24 images are of 1 class that {tmp_path}/train has no example of, as 2, 'stripe', so nobody can learn"
    code, _, err = run_cli("evaluate", run, "--eval", evals)
    assert code == 0 and err.count(told) == 1, err
    found = results(run)["results"]["knn"]["student"]
    assert found["of classes without an example"] == 8.0
    for text in (run / "report.html", run / "report.md"):
        assert "8 of classes without an example (stripe), which nobody could learn" in text.read_text()
    code, _, err = run_cli("compare", run, "--teacher", "--out", tmp_path / "page", "--dots", 0)
    for name in ("compare.html", "compare.md"):
        told_there = "24 items in 3 groups, 8 of classes without an example, which nobody could learn"
        assert told_there in (tmp_path / "page" / name).read_text(), err
    recipe = tmp_path / "train.toml"
    recipe.write_text(f"{(world / 'train.toml').read_text()}\n{asked}")
    code, out, err = run_cli("recipe", "check", recipe)
    assert code == 0 and told in out, err


def test_what_every_network_would_be_told_of_an_eval_is_told_once():
    heard = []
    say = _once(heard.append)
    for line in ("a class without an example", "1/3", "a class without an example", "2/3", "1/3"):
        say(line)
    assert heard == ["a class without an example", "1/3", "2/3"]
