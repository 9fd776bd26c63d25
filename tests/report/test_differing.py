"""Every measure in which student and baseline differ is told, and the title denies none of them."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from distillkit.evals._answers import Answers, Measure
from distillkit.evals._labels import UNSHOWN
from distillkit.evaluation.rows import Rows, read_rows, write_rows
from distillkit.report import write_report
from distillkit.report.answers import with_absent_classes
from distillkit.report.differing import differing
from distillkit.report.headline import Networks, against_baseline, headline
from distillkit.report.results import tables
from distillkit.runfolder import RunFolder
from tests.conftest import TRAIN
from tests.records import without_checksum


@pytest.fixture
def run(tmp_path):
    """The student says the right class as often as the baseline does, and is further from the teacher, in all items."""
    random, n = np.random.default_rng(0), 200
    right = (random.random(n) < 0.5).astype(float)
    measures = (Measure("top-1", "right", chance=0.1), Measure("cosine", "cosine"), Measure("far", "far", more=False))

    def answers(less, table=""):
        noise = 0.01 * (np.arange(n) % 7 - 3) * (-1) ** np.arange(n) * less
        columns = {"right": right, "cosine": 0.8 - less + noise, "far": 0.2 - less + noise}
        made = Answers([str(one) for one in range(n)], columns, measures)
        return made.called(table) if table else made

    (tmp_path / "evaluation").mkdir()
    for table in ("", "others"):
        made = {who: answers(less, table) for who, less in (("teacher", 0.0), ("student", 0.148), ("baseline", 0.0))}
        rows = Rows(
            "zoo", {"eval": {"kind": "zoo"}} | ({} if table else {"tables": ["others"]}), dict.fromkeys(made, ""), made
        )
        write_rows(tmp_path / f"evaluation/zoo{'.others' if table else ''}.arrow", rows)
    return tmp_path, rows, made


def test_each_measure_that_differs_is_told_with_its_direction(run):
    evaluation = {"results": {"zoo": {}}, "evals": {"zoo": {"rows": "evaluation/zoo.arrow"}}}
    found = differing(run[0], evaluation)
    assert found.tests == 6
    assert found.of("zoo") == (
        "By paired tests (p after Holm over the 6 tests of this page) the student is better than the baseline in "
        "far (−0.148, p < 0.001) and others far (−0.148, p < 0.001) and worse than the baseline in "
        "cosine (−0.148, p < 0.001) and others cosine (−0.148, p < 0.001)."
    )
    assert found.of("another") == "" and "cosine (" not in found.but("zoo", "cosine").of("zoo").split("others")[0]


def test_one_number_has_one_verdict_whoever_tells_it(run):
    """Of several tests one of p = 0.04 is no discovery: neither below the title nor in a comparison."""
    path, rows = run[0], read_rows(run[0] / "evaluation/zoo.arrow")
    made = rows.answers
    right = made["baseline"].columns["right"].copy()
    right[np.flatnonzero(right == 0)[:12]] = 1
    right[np.flatnonzero(right == 1)[-3:]] = 0
    answers = made | {"student": replace(made["student"], columns={**made["student"].columns, "right": right})}
    write_rows(path / "evaluation/zoo.arrow", replace(rows, answers=answers))
    found = differing(path, {"results": {"zoo": {}}, "evals": {"zoo": {"rows": "evaluation/zoo.arrow"}}})
    test = found.test_of("zoo", "top-1")
    assert test.p < 0.05 < test.verdict.adjusted and test.verdict.word == "not separable"
    values = {"top-1": 0.5, "top-1.low": 0.4, "top-1.high": 0.6, "top-1.chance": 0.1}
    (table,) = tables({"zoo": dict.fromkeys(("teacher", "student", "baseline"), values)}, SimpleNamespace(evals=[]))
    told = against_baseline(table, test, found.tests)
    assert told.startswith("Student and baseline are not separable: +")
    assert re.search(r", p = 0\.0\d+, 0\.\d+ after Holm over the 6 tests of this page", told)
    assert "top-1" not in found.of("zoo") and found.test_of("zoo", "none such") is None


def test_classes_without_an_image_are_told_beside_those_that_have_some(tmp_path):
    target = np.array([0, 0, 2, 3])
    made = Answers(list("abcd"), {"rank": np.ones(4)}, (), target, target, facts={"images": 4.0, "classes": 5.0})
    write_rows(tmp_path / "zoo.arrow", Rows("zoo", {"eval": {}}, {"teacher": ""}, {"teacher": made}))
    evaluation = {"evals": {"zoo": {"rows": "zoo.arrow"}}}
    (one,) = tables({"zoo": {"teacher": {"images": 1.0, "classes": 1.0, "texts": 1234.0}}}, SimpleNamespace(evals=[]))
    assert one.caption == "1 image, 1,234 texts, 1 class"
    for name, told in (("zoo", "4 images, 5 classes, 2 of which have no image here"), ("other", "4 images, 5 classes")):
        (table,) = tables({name: {"teacher": made.facts}}, SimpleNamespace(evals=[]))
        assert with_absent_classes([table], tmp_path, evaluation)[0].caption == told


def test_classes_that_were_matched_by_name_are_no_measure():
    facts = {"images": 4.0, "classes": 5.0, "classes matched by name": 2.0, "top-1": 0.5}
    (table,) = tables({"zoo": {"teacher": facts}}, SimpleNamespace(evals=[]))
    assert table.caption == "4 images, 5 classes; 2 classes that stores number otherwise matched by name"
    assert [one.name for one in table.measures] == ["top-1"]


def test_classes_without_an_example_are_named_after_those_without_an_image(tmp_path):
    target, unshown = np.array([0, 0, 2, 3]), np.array([1, 1, 0, 1], np.int8)
    facts = {"images": 4.0, "classes": 5.0, UNSHOWN: 3.0, "also in train": 2.0}
    made = Answers(
        list("abcd"),
        {"rank": np.ones(4), UNSHOWN: unshown},
        (),
        target,
        target,
        np.zeros((4, 1), np.int32),
        list("vwxyz"),
        facts=facts,
    )
    asked = {"eval": {"kind": "knn", "store": str(tmp_path / "gone")}}
    write_rows(tmp_path / "zoo.arrow", Rows("zoo", asked, {"teacher": ""}, {"teacher": made}))
    (table,) = tables({"zoo": {"teacher": facts}}, SimpleNamespace(evals=[]))
    assert with_absent_classes([table], tmp_path, {"evals": {"zoo": {"rows": "zoo.arrow"}}})[0].caption == (
        "4 images, 5 classes, 2 of which have no image here, 3 of classes without an example (v and y), which nobody "
        "could learn, 2 also in train, where each is no example for itself"
    )


def test_the_title_does_not_deny_them(run):
    path, _, _ = run
    evaluation = {"results": {"zoo": {}}, "evals": {"zoo": {"rows": "evaluation/zoo.arrow"}}}
    values = {"top-1": 0.5, "top-1.low": 0.4, "top-1.high": 0.6, "top-1.chance": 0.1, "cosine": 0.7}
    results = {"zoo": dict.fromkeys(("teacher", "student", "baseline"), values)}
    (table,) = tables(results, SimpleNamespace(evals=[]))
    test = differing(path, evaluation).test_of("zoo", "top-1")
    networks = Networks("small", "big", student_parameters=1, teacher_parameters=None)
    differ = differing(path, evaluation).but("zoo", "top-1")
    told = headline(table, networks, "", test, differ=differ)
    assert told.endswith(
        "; in top-1 it and the baseline are not separable in a paired test, but it is better in far and others far "
        "and worse in cosine and others cosine"
    )
    assert headline(table, networks, "", test).endswith("; it and the baseline are not separable in a paired test")
    assert " worse in cosine of zoo and " in headline(table, networks, "", test, True, differ)


def test_the_page_tells_them(toy_stores, tmp_path, run_cli):
    text = TRAIN.format(out=toy_stores / "out").replace(f"{toy_stores}/out/run", str(tmp_path / "run"))
    (tmp_path / "train.toml").write_text(text.replace("epochs = 6", "epochs = 2"))
    assert run_cli("train-student", tmp_path / "train.toml")[0] == 0
    code, _, err = run_cli("evaluate", tmp_path / "run")
    assert code == 0, err
    path = tmp_path / "run/evaluation/retrieval.arrow"
    rows = read_rows(path)
    for who, rank in {"teacher": 1, "baseline": 1, "student": 2}.items():
        rows.answers[who].columns["rank"] = np.full_like(rows.answers[who].columns["rank"], rank)
    write_rows(path, rows)
    evaluation = json.loads((tmp_path / "run/evaluation.json").read_text())
    for values in evaluation["results"]["retrieval"].values():  # no network of noise is told from chance
        values |= {"R@10": 0.5, "R@10.low": 0.4, "R@10.high": 0.6, "R@10.chance": 0.1}
    (tmp_path / "run/evaluation.json").write_text(without_checksum(evaluation))
    page = write_report(RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run/baseline"))
    for told in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "In R@10 it and the baseline are not separable in a paired test, but it is worse in R@1," in told
        title = next(line for line in told.splitlines() if line.lstrip().startswith(("<h1>", "# ")))
        assert "The student reaches" in title and "paired test" not in title, "a title is one clause, not all verdicts"
        assert "the student is worse than the baseline in R@1 (−100.0 points, p = " in told
