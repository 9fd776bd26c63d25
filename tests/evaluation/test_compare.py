"""Compare: in pairs, over seeds, with verdicts that have a test behind them; and what stands on no table together."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from distillkit import compare
from distillkit.errors import TrainError
from distillkit.evaluation.paired import mean_differences
from distillkit.evaluation.rows import read_rows, write_rows
from distillkit.report.comparison_table import as_csv
from distillkit.report.heard import heard
from distillkit.system.wording import network
from tests.evaluation.test_evaluate import refused
from tests.evaluation.worlds import asked_otherwise, train_run
from tests.records import without_checksum


def edited(run, change):
    """A table of a run with the student's ranks as `change` makes them of what they were."""
    path = run / "evaluation/retrieval.arrow"
    rows = read_rows(path)
    student = rows.answers["student"]
    ranks = change(student.columns["rank"])
    answers = rows.answers | {"student": replace(student, columns=student.columns | {"rank": ranks})}
    write_rows(path, replace(rows, answers=answers))
    return run


@pytest.fixture
def pair(world, tmp_path):
    """Two runs to change."""
    return [shutil.copytree(world / name, tmp_path / name) for name in ("a@0", "b@0")]


def line(found, measure):
    return next(one for one in found.lines if one.measure.name == measure)


def test_a_baseline_is_compared_with_its_run_as_the_rows_have_it(world):
    base, run = world / "a@0/baseline", world / "a@0"
    found = compare.comparison([base, run])
    assert [arm.name for arm in found.arms] == [str(base), str(run)]
    assert any(change.startswith("recipe.losses") for change in found.arms[1].differs)
    assert not any("seed" in change or "evals" in change for change in found.arms[1].differs)
    rows = read_rows(run / "evaluation/retrieval.arrow")
    hits = [(rows.answers[who].columns["rank"] <= 10)[:, None] for who in ("student", "baseline")]
    wanted = mean_differences(*hits, rows.answers["student"].group)
    test = line(found, "R@10").cells[str(run)].against
    assert (test.value, test.low, test.high, test.p) == (wanted.value, wanted.low, wanted.high, wanted.p)
    assert test.verdict.adjusted >= test.p and line(found, "R@10").cells[str(base)].against is None
    assert line(found, "text to image R@5").table == "text to image"


def test_better_and_worse_are_told_and_lower_ranks_are_better(pair):
    a, b = edited(pair[0], lambda ranks: np.full_like(ranks, 9)), edited(pair[1], lambda ranks: np.full_like(ranks, 1))
    found = compare.comparison([a, b])
    words = {name: line(found, name).cells[str(b)].against.verdict.word for name in ("R@1", "R@10", "median rank")}
    assert words == {"R@1": "better", "R@10": "not separable", "median rank": "better"}
    assert line(found, "R@10").cells[str(b)].against.verdict.why == "the same answers"  # all right, both
    assert found.tests == len(found.lines)
    other = compare.comparison([a, b], baseline=b)
    assert other.baseline.name == str(b)
    assert line(other, "R@1").cells[str(a)].against.verdict.word == "worse"


def test_few_groups_are_told_with_their_table(pair):
    """Four groups of ten items, each of them better by all of its items: the interval is clear of 0, p is not small."""
    for run, rank in zip(pair, (9, 1), strict=True):
        edited(run, lambda ranks, rank=rank: np.full_like(ranks, rank))
        path = run / "evaluation/retrieval.arrow"
        rows = read_rows(path)
        student = rows.answers["student"]
        some = np.where(
            np.arange(40) % 10 == np.arange(40) // 10, 1, student.columns["rank"]
        )  # one item of each is not
        answers = {
            who: replace(one, group=np.arange(40) // 10, columns=one.columns | {"rank": some})
            for who, one in rows.answers.items()
        }
        write_rows(path, replace(rows, answers=answers))
    page = compare.compare(pair, dots=0)
    test = line(compare.comparison(pair), "R@1").cells[str(pair[1])].against
    assert test.low > 0 and test.groups == 4 and test.p == 0.125
    assert "4 independent groups of items are too few: the interval is clear of 0" in test.verdict.told
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "40 items in 4 groups. There are only 4 independent groups of items" in text
        assert "4 groups cannot bring below 0.12: no difference is separable here." in text


def test_what_the_most_frequent_class_reaches_is_told_with_its_table(pair):
    for run in pair:
        path = run / "evaluation/retrieval.arrow"
        rows = read_rows(path)
        often = {"R@1": 0.4321, "R@10": 0.0}  # the other one is less than chance
        answers = {
            who: replace(
                one, measures=tuple(replace(measure, majority=often.get(measure.name)) for measure in one.measures)
            )
            for who, one in rows.answers.items()
        }
        write_rows(path, replace(rows, answers=answers))
    page = compare.compare(pair, dots=0)
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "The most frequent class, said of every image, reaches 43.2% in R@1." in text
    table = list(csv.DictReader(io.StringIO(as_csv(compare.comparison(pair)))))
    assert {(row["measure"], row["majority"]) for row in table if row["majority"]} == {("R@1", "0.4321")}


def test_seeds_are_one_recipe(world):
    runs = [world / name for name in ("a@0", "a@1", "b@0", "b@1")]
    found = compare.comparison(runs)
    assert [arm.seeds for arm in found.arms] == [(0, 1), (0, 1)] and "and 1 more" in found.arms[0].name
    assert found.arms[1].differs == ("recipe.optim.lr: 0.0008 -> 0.0001",)
    cell = line(found, "R@10").cells[found.arms[1].name]
    means = [
        np.mean(read_rows(run / "evaluation/retrieval.arrow").answers["student"].columns["rank"] <= 10) for run in runs
    ]
    assert cell.value == pytest.approx(np.mean(means[2:]))
    assert cell.against.value == pytest.approx(np.mean(means[2:]) - np.mean(means[:2])) and cell.low <= cell.value
    assert line(found, "median rank").cells[found.arms[1].name].against is None


def test_the_teacher_is_put_on_the_table(world):
    found = compare.comparison([world / "a@0"], teacher=True)
    assert [arm.name for arm in found.arms] == [str(world / "a@0"), "teacher"]
    assert line(found, "R@10").cells["teacher"].against is not None


def test_files_and_tables(pair, run_cli, tmp_path):
    a, b = pair
    edited(b, lambda ranks: np.full_like(ranks, 1))
    code, out, err = run_cli("compare", a, b, "--out", tmp_path / "page")
    assert code == 0, err
    assert out.strip() == str(tmp_path / "page/compare.html")
    page, plain = (tmp_path / "page/compare.html").read_text(), (tmp_path / "page/compare.md").read_text()
    for told in ("What differs", "0.0008 -&gt; 0.0001", "better", "retrieval, text to image", "default-src 'none'"):
        assert told in page, told
    assert page.index("What differs") < page.index("What came out") and not re.search(r'(src|href)="(?!data:)', page)
    assert "better" in plain and plain.index("0.0001") < plain.index("R@10")
    assert f"retrieval: R@1: {b} 100.0%, +" in err

    code, out, _ = run_cli("compare", a, b, "--table", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    (row,) = [row for row in rows if row["measure"] == "R@1" and row["recipe"] == str(b)]
    assert row["verdict"] == "better" and float(row["value"]) == 1.0 and float(row["p"]) < 0.05
    _, out, _ = run_cli("compare", a, b, "--table", "latex")
    assert out.startswith(r"\begin{tabular}{lrr}") and r"100.0\% [+" in out and r"R@10" in out
    _, out, _ = run_cli("compare", a, b, "--table", "md")
    assert out.splitlines()[1] == "| --- | ---: | ---: |" and "100.0% [+" in out
    _, out, _ = run_cli("compare", a, b, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert len(found) == len(rows) and all(one.keys() == rows[0].keys() for one in found)
    assert [one["value"] for one in found] == [float(row["value"]) for row in rows]
    assert found[0]["recipe"] == str(a) and found[0]["p"] is None
    code, _, err = run_cli("compare", a, b, "--json", "--table", "csv")
    assert code == 2 and "choose one" in err
    assert not (b / "compare.html").exists()


def test_what_stands_on_no_table_together_is_one_line(world, pair, run_cli, tmp_path):
    a, b = pair
    assert "there is nothing to compare this recipe with" in refused(run_cli, "compare", a)
    assert "is no run folder" in refused(run_cli, "compare", a, tmp_path / "absent")
    copy = shutil.copytree(a, tmp_path / "copy")
    assert "the same recipe and the same seed" in refused(run_cli, "compare", a, copy)
    facts = json.loads((b / "student.json").read_text())
    teacher, whole = facts["teacher"], (b / "student.json").read_text()
    first = f"{network(teacher['model'])} (weights {teacher['weights_sha256'][:16]})"
    # Of another network all details are other ones, too; what is told is who they are.
    others = {"activation": "another", "model": "local-dir:elsewhere/other", "weights_sha256": "0" * 64}
    (b / "student.json").write_text(without_checksum(facts | {"teacher": others | {**teacher, **others}}))
    told = refused(run_cli, "compare", a, b)
    assert (
        f"they learned from different teachers ({first} and local-dir:elsewhere/other (weights {'0' * 16}))" in told
    ), told
    (b / "student.json").write_text(without_checksum(facts | {"teacher": teacher | {"precision": "bf16"}}))
    told = refused(run_cli, "compare", a, b)
    assert f"different teachers (both {first}, but precision: 'fp32' against 'bf16'" in told, told
    (b / "student.json").write_text(
        without_checksum(facts | {"teacher": teacher | {"model": "local-dir:copied/other"}})
    )
    assert run_cli("compare", a, b, "--table", "csv")[0] == 0  # a name is no difference
    (b / "student.json").write_text(whole)
    (b / "student.json").unlink()
    assert "has not finished" in refused(run_cli, "compare", a, b)
    assert not (b / "compare.html").exists()


def test_students_that_were_not_evaluated_as_they_are(pair, run_cli):
    a, b = pair
    with (b / "student.safetensors").open("ab") as file:
        file.write(b" ")
    assert f"{b}: this student has not been evaluated; run: distillkit evaluate {b}" in refused(
        run_cli, "compare", a, b
    )
    shutil.rmtree(a / "evaluation")
    told = refused(run_cli, "compare", a / "baseline", b)
    assert f"run: distillkit evaluate {a.absolute()}" in told


def test_other_questions_under_one_name_are_refused(pair, run_cli):
    a, b = pair
    path = b / "evaluation/retrieval.arrow"
    stores = read_rows(path).made_of["stores"]
    asked_otherwise(b, "retrieval", lambda made_of: made_of | {"stores": {"elsewhere": "0"}})
    assert "were not asked the same (stores: " in refused(run_cli, "compare", a, b)
    asked_otherwise(b, "retrieval", lambda made_of: made_of | {"stores": stores})
    rows = read_rows(path)
    answers = {who: replace(one, key=[f"x{key}" for key in one.key]) for who, one in rows.answers.items()}
    write_rows(path, replace(rows, answers=answers))
    assert "not the same ones" in refused(run_cli, "compare", a, b)


def test_half_precision_is_not_compared_with_full(pair, run_cli):
    """Its third digit differs: what the recipes make would not be told from what rounding does."""
    half = ("--set", "evaluation.autocast=true")
    assert run_cli("evaluate", pair[0], *half)[0] == 0
    told = refused(run_cli, "compare", *pair)
    assert "were not asked the same (precision: evaluation.autocast: True -> 'absent')" in told
    assert compare.comparison([pair[0]], teacher=True).lines
    assert run_cli("evaluate", pair[1], *half)[0] == 0
    assert compare.comparison(pair).lines


def test_other_questions_are_left_out_where_there_are_others_yet(world, pair, run_cli):
    """As of recipes whose knn each is trained on a store of its own."""
    a, b = pair
    for run in pair:
        assert run_cli("evaluate", run, "--eval", world / "more.toml")[0] == 0
    asked_otherwise(b, "knn", lambda made_of: made_of | {"eval": {"train": "elsewhere"}})
    found = compare.comparison([a, b])
    assert {"retrieval", "zero_shot"} <= {line.eval for line in found.lines} and "knn" not in {
        line.eval for line in found.lines
    }
    assert found.apart == ("knn",) and "knn" not in {one.eval for one in heard(found)}, "nor on its pages"
    assert "knn" in {one.eval for one in heard(replace(found, apart=()))}
    (note,) = found.notes
    assert note.startswith("knn: ") and "were not asked the same (eval: " in note and note.endswith(", left out")
    code, out, err = run_cli("compare", a, b, "--table", "csv")
    assert code == 0 and "knn" not in out and note in err


@pytest.mark.parametrize("what", ["eval", "stores", "files"])
def test_numbers_without_rows_stand_beside_each_other_only_where_the_same_was_asked(what, pair):
    """As of an eval of one's own that gives numbers alone."""
    for run, asked in zip(pair, ("1", "1"), strict=True):
        tell_numbers(run, {what: {"masks": asked}})
    found = compare.comparison(pair)
    assert "mine" in {line.eval for line in found.lines} and found.notes == ()
    tell_numbers(pair[1], {what: {"masks": "2"}})
    found = compare.comparison(pair)
    assert "mine" not in {line.eval for line in found.lines} and found.apart == ("mine",)
    assert found.notes == (
        f"mine: {pair[0]} and {pair[1]} were not asked the same ({what}: masks: '1' -> '2'), left out",
    )


def tell_numbers(run, made_of):
    """As if an eval that keeps no rows had been asked."""
    networks = read_rows(run / "evaluation/retrieval.arrow").networks
    numbers = {who: {"number": 0.5} for who in networks}
    record = {"name": "mine", "made_of": made_of, "networks": networks, "numbers": numbers}
    (run / "evaluation/mine.json").write_text(json.dumps(record))


def test_evals_that_not_all_answered_are_left_out_and_told(world, pair, run_cli):
    a, b = pair
    assert run_cli("evaluate", a, "--eval", world / "more.toml")[0] == 0
    found = compare.comparison([a, b])
    assert {line.eval for line in found.lines} == {"retrieval"}
    assert found.notes == tuple(
        f"{name}: not answered by all of them, left out" for name in ("agreement", "knn", "zero_shot")
    )
    shutil.rmtree(b / "evaluation")
    (b / "evaluation").mkdir()
    with pytest.raises(TrainError, match="has not been evaluated"):
        compare.comparison([a, b])


def test_weights_that_were_selected_on_what_they_are_measured_on_are_told(world, run_cli, tmp_path):
    """Of many the luckiest: a verdict over one that was not selected would be told as if both were measured alike."""
    out, last = world / "out", world / "a@0"
    chosen = train_run(
        world, str(tmp_path / "run"), f'out="{tmp_path / "run"}"', "optim.epochs=2", "validation.every_steps=1",
        f'validation.eval={{kind="retrieval",store="{out}/images"}}', 'validation.best="R@1"', "seed=0",
    )  # fmt: skip
    run_cli("evaluate", chosen / "best")
    code, _, err = run_cli("compare", last, chosen / "best", "--out", tmp_path, "--dots", 0)
    told = "run/best: its weights were selected on images of retrieval, so these numbers flatter it"
    assert code == 0 and told in err and told in (tmp_path / "compare.md").read_text()
    run_cli("evaluate", chosen)
    code, _, err = run_cli("compare", last, chosen, "--out", tmp_path, "--dots", 0)
    assert code == 0 and "flatter" not in err + (tmp_path / "compare.md").read_text()


def test_parameters_of_pairs_and_of_image_towers_are_told_apart(pair):
    told = "parameters of a@0 are of no text tower: where texts are asked about, the teacher's has to be"
    assert "of no text tower" not in compare(pair, lambda line: None).with_suffix(".md").read_text()
    path = pair[1] / "student.json"
    facts = json.loads(path.read_text())
    path.write_text(without_checksum(facts | {"towers": facts["towers"] | {"text": 1000}}))
    page = compare(pair, lambda line: None)
    assert told in page.with_suffix(".md").read_text().replace("\\", "").replace("’", "'")
    assert "of no text tower" in page.read_text()


def test_speeds_that_were_measured_alike_stand_beside_the_recipes(pair):
    for place, run in enumerate(pair):
        speed = {"who": str(run), "runtime": "torch", "image_seconds": 0.002 * (place + 1), "images_per_second": 800.0}
        (run / "bench.json").write_text(json.dumps({"machine": {}, "threads": 2, "batch": 8, "speeds": [speed]}))
    page = compare(pair, lambda line: None).with_suffix(".md").read_text()
    assert "| one image | images/s |" in page and page.count("| 2 ms | 800 |") == page.count("| 4 ms | 800 |") == 1
    kept = json.loads((pair[0] / "bench.json").read_bytes())
    (pair[0] / "bench.json").write_text(json.dumps(kept | {"threads": 1}))
    page = compare(pair, lambda line: None).with_suffix(".md").read_text()
    assert "one image" not in page and "speeds were measured on other machines, threads or batches" in page
    (pair[0] / "bench.json").write_text("{")
    with pytest.raises(TrainError, match=r"damaged .* measure again: distillkit bench-model"):
        compare(pair, lambda line: None)
