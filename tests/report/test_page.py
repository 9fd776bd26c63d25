"""The report: complete, honest, self-contained, the same every time, and safe against what captions may hold."""

import html.parser
import json
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from distillkit import report as package
from distillkit.errors import MissingExtra, SourceError
from distillkit.evaluation.comparison import Against
from distillkit.evaluation.intervals import mean_intervals
from distillkit.evaluation.rows import read_rows, write_rows
from distillkit.evaluation.verdicts import Verdict
from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.report import words as say
from distillkit.report import write_report
from distillkit.report.answers import listed, rows_of
from distillkit.report.cost_table import cost
from distillkit.report.costs import online, teacher_pass
from distillkit.report.curves import Line, chart
from distillkit.report.demo import demo_credits, demo_folder, teacher_name
from distillkit.report.differing import differing
from distillkit.report.grid import distance, pictures
from distillkit.report.headline import Networks, above_chance, against_baseline, headline, numbers
from distillkit.report.knew import Knew, notes
from distillkit.report.overlap import seen
from distillkit.report.results import bars, method, tables
from distillkit.report.stores import store_facts, with_bases
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from tests.records import without_checksum


@pytest.fixture(scope="module")
def finished(tmp_path_factory, teacher_folder):
    """An evaluated toy run, made from Python (so without recorded commands); tests change copies of it."""
    from distillkit.evaluate import evaluate
    from distillkit.extract import extract
    from distillkit.train import train
    from tests.conftest import EXTRACT, TRAIN, draw

    root = tmp_path_factory.mktemp("report")
    places = {"out": root / "out", "corpus": draw(root / "corpus", 70), "teacher": teacher_folder}
    (root / "extract.toml").write_text(EXTRACT.format(**places))
    (root / "train.toml").write_text(TRAIN.format(**places))
    extract(load(root / "extract.toml", kind=ExtractRecipe), say=lambda message: None)
    folder = train(load(root / "train.toml", kind=TrainRecipe), say=lambda message: None)
    evaluate(folder, say=lambda message: None)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return RunFolder(Path(shutil.copytree(finished, tmp_path / "run")))


def edit(path, change):
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(without_checksum(content))


def written(run, baseline=True):
    """Both files of a report written anew."""
    page = write_report(run, RunFolder(run.path / "baseline") if baseline else None)
    return page.read_text(), page.with_suffix(".md").read_text()


def store_of(run):
    return run.recipe().evals[0].knobs["store"]


class Page(html.parser.HTMLParser):
    """What a browser would load, and what it would show."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.links, self.shown = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data", "action") or (name == "href" and tag != "a"):
                self.loads.append(value)
            assert not name.startswith("on"), f"an event handler: {name}"
        self.links += [value for name, value in attrs if tag == "a" and name == "href"]

    def handle_data(self, data):
        self.shown.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.shown).split())


def test_it_tells_everything_that_the_run_recorded(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    run_cli("train-student", recipes[1], "--set", "optim.lr=1e-3")
    code, out, err = run_cli("evaluate", tmp_path / "out/run")
    assert code == 0, err
    assert out.strip() == str(tmp_path / "out/run/report.html")
    page, plain = Page(Path(out.strip()).read_text()), (tmp_path / "out/run/report.md").read_text()

    result = json.loads((tmp_path / "out/run/evaluation.json").read_text())["results"]["retrieval"]
    for who in ("teacher", "student", "baseline"):
        value, low, high = (100 * result[who][f"R@10{end}"] for end in ("", ".low", ".high"))
        assert f"{value:.1f}% {low:.1f}–{high:.1f}" in page.text
        assert f"{value:.1f}% ({low:.1f}–{high:.1f})" in plain
    facts = json.loads((tmp_path / "out/run/student.json").read_text())
    store = FeatureStore(tmp_path / "out/images")
    for told in (
        f"distillkit extract-teacher {recipes[0]}",
        f"distillkit train-student {recipes[1]} --set optim.lr=1e-3",
        f"distillkit evaluate {tmp_path}/out/run",
        f"{facts['images_seen']:,}",
        facts["machine"]["cpu"],
        f"torch {json.loads((tmp_path / 'out/run/recipe.json').read_text())['versions']['torch']}",
        facts["teacher"]["weights_sha256"],
        "0.7 affinity + 0.3 L_pvl",
        "openclip/image float16[32]",
        "1 seed (3)",
    ):
        assert told in page.text, told
        assert told in plain.replace("\\", ""), told
    assert store.manifest.digest in plain and store.manifest.digest[:12] in page.text
    assert "A quick look" not in page.text + plain


def test_it_is_one_file_that_loads_nothing(run):
    text, _ = written(run)
    page = Page(text)
    assert page.loads and all(value.startswith("data:image/jpeg;base64,") for value in page.loads)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert page.tags.count("img") == 24 and page.tags.count("svg") == 4
    assert len(text) < 1_500_000  # the toy's pictures are noise; drawings take a fifth of that


def test_the_same_records_give_the_same_bytes(run):
    first = written(run)
    assert written(run) == first
    assert not list(run.path.glob("*.partial"))


def test_captions_and_names_cannot_break_out(run):
    hostile = '<script>alert(1)</script> | *b* `c` [d](e) "f" \n# g'

    def change(evaluation):
        evaluation["results"] = {hostile: evaluation["results"]["retrieval"]}
        evaluation["evals"] = {hostile: evaluation["evals"]["retrieval"]}

    edit(run.path / "evaluation.json", change)
    path = run.path / "evaluation/retrieval.arrow"
    rows = read_rows(path)
    answers = {who: replace(one, names=[hostile] * len(one.names)) for who, one in rows.answers.items()}
    write_rows(path, replace(rows, name=hostile, answers=answers))
    text, plain = written(run)
    page = Page(text)
    assert "script" not in page.tags and "<script>alert(1)</script>" in page.text
    assert "<script" not in plain
    rows = [line for line in plain.splitlines() if line.startswith("| &lt;script")]
    assert len(rows) == 24 and all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    assert '**&lt;script>alert(1)&lt;/script> \\| \\*b\\* \\`c\\` \\[d\\](e) "f" \\# g**' in plain


def test_without_jinja2_it_says_what_to_install(run, monkeypatch):
    package._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r'jinja2 is not installed; run: pip install "distillkit\[report\]"'):
        written(run)


def test_a_picture_that_is_gone_is_named_and_the_old_report_stays(run):
    before = written(run)
    edit(run.path / "evaluation.json", lambda evaluation: evaluation.update(roots={store_of(run): "/nowhere"}))
    with pytest.raises(SourceError, match=r"the report cannot show it .*run the same command again$"):
        written(run)
    assert ((run.path / "report.html").read_text(), (run.path / "report.md").read_text()) == before


def test_what_was_not_recorded_is_said_and_not_made_up(run):
    text, plain = written(run)
    for told in ("# distillkit extract-teacher RECIPE", "# distillkit train-student RECIPE"):
        assert told in text and told in plain

    edit(run.path / "evaluation.json", lambda evaluation: evaluation.update(results={}))
    edit(run.path / "student.json", lambda facts: (facts["teacher"].pop("parameters"), facts.pop("machine")))
    text, plain = written(run, baseline=False)
    assert "how well was not measured" in text and "a machine that was not recorded" in plain
    assert "What they say" not in text and "Loss of the baseline" not in text


def test_a_quick_run_is_labelled(run):
    edit(run.path / "recipe.json", lambda content: content["recipe"].update(note="A QUICK one"))
    text, plain = written(run)
    assert "A quick look, not the result." in text and "A quick look, not the result." in plain


NETWORKS = Networks("small", "big", student_parameters=800_000, teacher_parameters=4_700_000)


def table(teacher, student, baseline, half=0.05, chance=0.1):
    """An evaluation with these R@10, intervals of +- `half`, and a measure without either."""

    def values(value):
        return {"images": 1000.0, "R@10": value, "R@10.low": value - half, "R@10.high": value + half,
                "R@10.chance": chance, "R@1": value / 10, "R@1.chance": chance / 10, "median rank": 7.0}  # fmt: skip

    results = {"e": {"teacher": values(teacher), "student": values(student), "baseline": values(baseline)}}
    (made,) = tables(results, SimpleNamespace(evals=[]))
    return made


def test_the_headline_is_no_better_than_the_numbers():
    good = table(0.5, 0.3, 0.15)
    assert headline(good, NETWORKS, "on images it never saw") == (
        "The student reaches 60% of its teacher’s R@10 on images it never saw, with an image tower 1/6 the size"
    )
    assert headline(table(0.5, 0.3, 0.4), NETWORKS, "").endswith("; its baseline reaches 80%")
    assert "The student cannot be told from chance in R@10" in headline(table(0.5, 0.14, 0.1), NETWORKS, "")
    assert "The student is no better than chance in R@10" in headline(table(0.5, 0.1, 0.1), NETWORKS, "")
    assert "the teacher itself cannot be told from chance" in headline(table(0.12, 0.5, 0.1), NETWORKS, "")
    assert "the teacher itself is no better than chance" in headline(table(0.09, 0.5, 0.1), NETWORKS, "")
    assert "was not measured" in headline(None, NETWORKS, "")
    for word, told, short in (
        (
            "better",
            "The student is better than the baseline: +15.0 points (+4.0 to +26.0) in R@10",
            "it is better than",
        ),
        ("worse", "The student is worse than the baseline: +15.0 points", "it is worse than"),
        ("not separable", "Student and baseline are not separable: +15.0", "it and the baseline are not separable"),
    ):
        test = Against(0.15, 0.04, 0.26, 0.01, 0.05, 0.0, 400, Verdict(word, 0.01))
        assert told in against_baseline(good, test)
        assert short in headline(good, NETWORKS, "", test) and "paired test" in headline(good, NETWORKS, "", test)
    assert against_baseline(good, None) == ""
    assert numbers(good) == (
        "R@10 is 50.0% (45.0–55.0) for the teacher, 30.0% (25.0–35.0) for the student, 15.0% (10.0–20.0) for the "
        "baseline and 10.0% by chance."
    )


def test_against_chance_the_headline_goes_by_the_items_and_not_by_the_interval_of_few_groups():
    wide = table(0.5, 0.3, 0.15, half=0.45)
    assert "chance" in headline(wide, NETWORKS, "")
    sure = {"teacher": 0.0005, "student": 0.01, "baseline": 0.4}
    assert headline(wide, NETWORKS, "", guessed=sure).startswith("The student reaches 60% of its teacher’s R@10")
    assert above_chance(wide, sure) == (
        "An interval that reaches chance is about other classes or texts than the few groups here; on these items, "
        "each by itself, the teacher (p < 0.001) and the student (p = 0.01) are above chance."
    )
    told = headline(wide, NETWORKS, "", guessed=sure | {"student": 0.2})
    assert told == "The student cannot be told from chance in R@10"
    narrow = table(0.5, 0.3, 0.15)
    assert above_chance(narrow, sure) == "" and above_chance(wide, {}) == ""


def test_the_page_asks_the_rows_whether_the_numbers_are_above_chance(run):
    """Intervals of few groups reach chance; every image got its own text first."""
    path = run.path / "evaluation/retrieval.arrow"
    rows = read_rows(path)
    right = {who: replace(one, columns=one.columns | {"rank": np.ones(70)}) for who, one in rows.answers.items()}

    def wide(evaluation):
        for values in evaluation["results"]["retrieval"].values():
            values |= {"R@10": 1.0, "R@10.low": 0.0, "R@10.high": 1.0, "R@10.groups": 5.0}

    edit(run.path / "evaluation.json", wide)
    write_rows(path, replace(rows, answers=right))
    for text in (Page(written(run)[0]).text, written(run)[1].replace("\\", "")):
        assert "The student reaches 100% of its teacher’s R@10" in text and "5 groups here; on these items" in text


def test_the_headline_names_its_eval_among_several(run):
    told = headline(table(0.5, 0.3, 0.15), NETWORKS, "on images it never saw", several=True)
    assert told.startswith("The student reaches 60% of its teacher’s R@10 in e on images it never saw")
    for teacher, student in ((0.5, 0.14), (0.12, 0.5)):
        assert "chance in R@10 in e" in headline(table(teacher, student, 0.1), NETWORKS, "", several=True)

    def another(evaluation):
        evaluation["results"]["second"] = evaluation["results"]["retrieval"]

    assert "in retrieval" not in written(run)[1].splitlines()[0]
    edit(run.path / "evaluation.json", another)
    text, plain = written(run)
    assert " in R@10 in retrieval" in plain.splitlines()[0] or "’s R@10 in retrieval" in plain.splitlines()[0]
    assert "70 images of retrieval" in Page(text).text and "70 images of retrieval" in plain


def test_a_table_has_its_columns_in_order_and_bars_in_proportion():
    made = table(0.5, 0.25, 0.1)
    assert [measure.name for measure in made.measures] == ["R@1", "R@10", "median rank"]
    assert made.caption == "1,000 images" and made.main.name == "R@10"
    assert made.measures[2].cell("student") == ("7", "") and made.measures[2].cell("chance") == ("–", "")
    drawn = {bar["who"]: float(bar["length"]) for bar in bars(made)}
    assert list(drawn) == ["teacher", "student", "baseline", "chance"]
    assert drawn["teacher"] == pytest.approx(2 * drawn["student"], abs=0.02)
    assert drawn["teacher"] < 100


def test_few_groups_are_told_beside_the_table_and_by_which_method_its_intervals_are_made(run):
    bootstrap = "95% intervals, by a bootstrap that draws items, those of one text or class together where each has one"
    text, plain = written(run)
    assert bootstrap in Page(text).text and bootstrap in plain and "not to be trusted" not in text + plain

    def rest_on(groups, *keys):
        def change(evaluation):
            for by_name in evaluation["results"]["retrieval"].values():
                by_name.update({key: float(groups) for key in by_name if key.endswith(keys)})

        edit(run.path / "evaluation.json", change)
        return Page(written(run)[0]).text, written(run)[1]

    for told in rest_on(5, ".groups"):
        assert (
            "by Student’s t, as wide as the spread of a bootstrap that draws items, those of one text or class" in told
        )
        assert "There are only 5 independent groups of items" in told and "fewer than 20 is not to be trusted" in told
        assert "cannot bring below 0.062: no difference is separable here" in told
    rest_on(70, ".groups")
    for told in rest_on(6, "text to image R@1.groups"):
        assert "; where such groups are fewer than 20, by Student’s t" in told and "cannot bring" not in told


def test_intervals_that_are_exact_are_called_so():
    exact = "exact ones of Clopper and Pearson"

    def told(*values):
        by_who = {}
        for who, right in zip(("teacher", "student"), values, strict=False):
            rows = np.arange(40) < right
            low, high = mean_intervals(rows[:, None].astype(float))
            by_who[who] = {"R@1": float(rows.mean()), "R@1.low": float(low[0]), "R@1.high": float(high[0])}
            by_who[who] |= {"R@1.groups": 40.0, "R@1.chance": 0.1}
        return method(tables({"e": by_who}, SimpleNamespace(evals=[])))

    assert told(40, 0) == exact and told(40) == exact
    assert told(20, 30) == "by a bootstrap that draws items, those of one text or class together where each has one"
    assert told(20, 40) == f"{told(20, 30)}; where all answers are right, or none is, {exact}"


def test_evals_are_listed_each_once_and_readably():
    told = Knew("on images it was trained on", "hold some out")
    known = {"retrieval": told, "retrieval, text to image": told, "knn": told, "mine, later": told}
    evals = {
        "retrieval": "retrieval",
        "retrieval, text to image": "retrieval",
        "knn": "knn",
        "mine, later": "mine, later",
    }
    (line,) = notes(known, "", evals)
    assert line == "retrieval, knn and “mine, later” were measured on images it was trained on; hold some out"
    (line,) = notes(dict(list(known.items())[:2]), "", evals)
    assert line == "retrieval was measured on images it was trained on; hold some out"


@pytest.mark.parametrize("kind", ["retrieval", "knn"])
def test_who_embeds_texts_is_told_where_texts_are_asked_about(run, kind):
    def change(evaluation):
        knobs = {"store": store_of(run)} | ({"train": store_of(run)} if kind == "knn" else {})
        evaluation["evals"]["retrieval"]["eval"] = {"kind": kind, **knobs}

    edit(run.path / "evaluation.json", change)
    for told in (Page(written(run)[0]).text, written(run)[1]):
        assert ("embeds texts itself" in told or "texts are embedded by" in told) == (kind == "retrieval")


def test_only_classes_with_votes_are_shown(run):
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    rows = rows_of(run.path, evaluation, "retrieval")
    answers = {}
    for who, one in rows.answers.items():
        best, rank = one.best.copy(), np.full(len(one.key), 2)
        best[:, 1:] = -1
        answers[who] = replace(one, best=best, columns=one.columns | {"rank": rank})
    found = listed(replace(rows, answers=answers), evaluation)
    assert all(len(texts) == 1 and place is None for one in found.images for texts, place in one["answers"].values())
    assert set(found.right.values()) == {0.0}


def test_the_most_frequent_class_has_a_line_where_it_is_more_than_chance(run):
    assert "ost frequent class" not in "".join(written(run))

    def change(evaluation):
        for by_name in evaluation["results"]["retrieval"].values():
            by_name["R@10.majority"] = 0.4321

    edit(run.path / "evaluation.json", change)
    text, plain = written(run)
    assert "Most frequent class 43.2%" in Page(text).text  # a bar of the picture
    assert re.search(r"^\| most frequent class \|( – \|)+ 43.2% \|", plain, re.MULTILINE)
    for told in (Page(text).text, plain):
        assert "Most frequent class: what that class reaches, said of every image" in told
    assert "by chance; the most frequent class, said of all, reaches 43.2%." in plain


def test_whether_the_images_were_seen_is_looked_up(finished):
    images = FeatureStore(finished.parent / "images")
    assert seen(images, images) == ("on images it was trained on", "")
    assert seen(images, FeatureStore(finished.parent / "texts")) == ("on images it never saw", "")


def test_copies_under_other_names_were_seen(finished, tmp_path, teacher_folder, run_cli):
    from distillkit.extract import extract
    from tests.conftest import EXTRACT, draw

    stores = {"images": FeatureStore(finished.parent / "images")}
    for name, seed in (("copies", 0), ("others", 1)):  # by 0 the training images were drawn
        places = {
            "out": tmp_path / name,
            "corpus": draw(tmp_path / f"{name} drawn", 70, seed),
            "teacher": teacher_folder,
        }
        (tmp_path / "extract.toml").write_text(EXTRACT.format(**places))
        extract(load(tmp_path / "extract.toml", kind=ExtractRecipe), say=lambda message: None)
        stores[name] = FeatureStore(tmp_path / name / "images")
    assert seen(stores["copies"], stores["images"])[0] == "on images it was trained on"
    assert seen(stores["others"], stores["images"])[0] == "on images it never saw"
    assert run_cli("store", "view", finished.parent / "images", tmp_path / "three", "--rows", "0:3")[0] == 0
    told = (
        "on images of which 3 look to the teacher like one in training",
        ": 'images/000.png', 'images/001.png', 'images/002.png', and the teacher says the same of both files",
    )
    assert seen(stores["copies"], FeatureStore(tmp_path / "three")) == told


def test_of_a_mix_all_stores_are_told_and_the_baseline_that_has_one_of_them(toy_stores, teacher_folder, tmp_path):
    """The student saw two stores, its baseline the first; it is measured on the second, and on the first."""
    from distillkit.evaluate import evaluate
    from distillkit.train import train
    from tests.conftest import TRAIN

    out = toy_stores / "out"
    shutil.copytree(out / "images", tmp_path / "more")
    recipe = TRAIN.format(out=out, corpus="", teacher=teacher_folder).replace(f"{out}/run", str(tmp_path / "run"))
    recipe = recipe.replace(
        f'images = "{out}/images"\n', f'mix = [{{images = "{out}/images"}}, {{images = "{tmp_path}/more"}}]\n'
    )
    recipe = recipe.replace("[baseline]", f'[baseline]\nimages = "{out}/images"\nepochs = 1.5\nlr = 1e-3')
    (tmp_path / "train.toml").write_text(
        recipe + f'[[evals]]\nkind = "retrieval"\nname = "more"\nstore = "{tmp_path}/more"\n'
    )
    folder = train(load(tmp_path / "train.toml", kind=TrainRecipe), say=lambda message: None)
    evaluate(folder, say=lambda message: None)
    baseline = RunFolder(folder / "baseline")
    assert baseline.recipe().optim.lr == 1e-3 and list(baseline.facts()["stores"]) == ["images"]
    rows, steps = len(FeatureStore(out / "images").ok_rows), baseline.facts()["steps"]
    assert steps == int(1.5 * (rows // 16))
    page, plain = ((folder / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "\n\n\n" not in plain
    for text in (page, plain.replace("\\", "")):
        assert f"asked once about {2 * rows} images and" in text
        assert f"the same network and seed, the images of {out}/images alone, {steps} steps. Its objective" in text
        assert text.count(" on the same items, p = ") == 2
    assert "<strong>more</strong> R@10 is " in page and "more: R@10 is " in plain


def test_the_grid_is_spread_evenly(run):
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    rows = rows_of(run.path, evaluation, "retrieval")
    found = listed(rows, evaluation, shown=7)
    student = rows.answers["student"]
    own = [student.names[place] for place in student.target]
    shown = pictures(found.images)
    assert [picture.text for picture in shown] == own[::10] and found.count == len(own) == 70
    assert distance(7, 70) == "10" and distance(5, 5) == ""
    assert found.right["student"] == (student.columns["rank"] <= 5).mean()
    for picture, place in zip(shown, range(0, 70, 10), strict=True):
        answer = next(answer for answer in picture.answers if answer.who == "student")
        rank = int(student.columns["rank"][place])
        assert answer.place == (rank if rank <= 5 else None)
        assert answer.place is None or answer.texts[answer.place - 1] == picture.text


def test_a_store_that_has_changed_since_is_told(run):
    assert "has changed since" not in written(run)[1]
    was = json.loads((run.path / "recipe.json").read_text())["identity"]["stores"]["images"]
    edit(run.path / "recipe.json", lambda begun: begun["identity"]["stores"].update(images="06388eef" * 8))
    for text in (Page(written(run)[0]).text, written(run)[1].replace("\\", "")):
        assert (
            f"/images has changed since the student was trained (digest 06388eef06388eef then, {was[:16]} now)" in text
        )
        assert "/texts has changed" not in text


def test_classes_are_called_classes_and_by_the_names_that_the_store_has(run, monkeypatch):
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    rows = rows_of(run.path, evaluation, "retrieval")
    assert listed(rows, evaluation).what == "text"
    answers = {
        who: replace(one, names=[str(n) for n in range(len(one.names))], best=one.best.copy())
        for who, one in rows.answers.items()
    }
    made_of = rows.made_of | {"eval": rows.made_of["eval"] | {"kind": "knn"}}
    monkeypatch.setattr("distillkit.report.named.classes_of", lambda path: {"zoo": 0, "cats": 1})
    found = listed(replace(rows, answers=answers, made_of=made_of), evaluation, shown=70)
    assert found.what == "class" and not found.voted and {one["text"] for one in found.images} >= {"zoo", "cats", "2"}
    for one in answers.values():
        one.best[0, 1:] = -1
    write_rows(run.path / "evaluation/retrieval.arrow", replace(rows, answers=answers, made_of=made_of))
    text, plain = written(run)
    assert "its classes with the most votes (five at most). The image’s own class is among" in Page(text).text
    assert "The classes with the most votes (five at most) by each network; the image's own class is bold" in plain


def test_the_verdict_is_that_of_the_paired_test_on_the_rows(run):
    rows = read_rows(run.path / "evaluation/retrieval.arrow")
    test = differing(run.path, json.loads((run.path / "evaluation.json").read_text())).test_of("retrieval", "R@10")
    hits = {who: rows.answers[who].columns["rank"] <= 10 for who in ("student", "baseline")}
    assert test.value == pytest.approx(hits["student"].mean() - hits["baseline"].mean())
    text, plain = written(run)
    assert {"better": "is better", "worse": "is worse"}.get(test.verdict.word, "not separable") in Page(text).text
    assert f"p = {test.p:.2g}, {test.verdict.adjusted:.2g} after Holm over the " in plain
    # All wrong but one network: now there is no doubt.
    ranks = {"teacher": 1, "student": 1, "baseline": 71}
    answers = {
        who: replace(one, columns={**one.columns, "rank": np.full(70, ranks[who])}) for who, one in rows.answers.items()
    }
    write_rows(run.path / "evaluation/retrieval.arrow", replace(rows, answers=answers))
    assert "The student is better than the baseline: +100.0 points (" in written(run)[1]


def test_the_cost_is_what_was_measured(tmp_path, run):
    line = {"rows": 12, "failed": 2, "seconds": 5.0, "forward_seconds": {"image": 2.0, "text": 1.0}}
    again = line | {"seconds": 6.0}
    log = [json.dumps({"shard": shard} | one) for shard, one in ((0, line), (1, line), (1, again))]
    (tmp_path / "extract.jsonl").write_text("\n".join(log) + '\n{"shard": 2, "ro')
    measured = teacher_pass(SimpleNamespace(path=tmp_path))
    assert (measured.rows, measured.failed, measured.seconds) == (24, 4, 11.0)
    assert measured.each("image") == pytest.approx(4.0 / 20)

    facts = {"images_seen": 1000, "steps": 10}
    (views,) = online(run.recipe(), facts, {"images": measured, "texts": None}, 16)
    assert views.seconds == pytest.approx(200.0)
    (both,) = online(run.recipe(), facts, {"images": measured, "images.1": replace(measured, store="another")}, 16)
    assert both.measured.seconds == 22.0 and both.seconds == pytest.approx(200.0)
    (once,) = online(run.recipe(), facts, {"images": measured, "images.1": measured}, 16)  # two views of one store
    assert once.measured == measured
    assert online(run.recipe(), facts, {"images": measured, "images.1": None}, 16) == []
    (tmp_path / "extract.jsonl").unlink()
    assert teacher_pass(SimpleNamespace(path=tmp_path)) is None


def test_of_several_teachers_the_cost_is_that_of_the_one_that_is_meant(tmp_path):
    store = SimpleNamespace(path=tmp_path)

    def logged(**seconds):
        line = {"shard": 0, "rows": 10, "failed": 0, "seconds": 9.0}
        (tmp_path / "extract.jsonl").write_text(json.dumps(line | {"forward_seconds": seconds}) + "\n")

    logged(**{"clip/image": 2.0, "clip/text": 1.0, "dino/image": 5.0})
    assert teacher_pass(store, "dino").forward == {"image": 5.0}
    assert teacher_pass(store, "clip").forward == {"image": 2.0, "text": 1.0}
    logged(**{"dino/image": 5.0})  # added later, alone
    assert teacher_pass(store).forward == teacher_pass(store, "dino").forward == {"image": 5.0}
    logged(image=3.0)
    assert teacher_pass(store, "openclip").forward == {"image": 3.0}


def test_curves_are_drawings_with_their_names(run):
    steps = [float(step) for step in range(1, 2001)]
    lines = [Line("a <b>", "c1", steps, [1000 / step for step in steps]), Line("flat", "c2", steps, [1.0] * 2000)]
    drawing = ElementTree.fromstring(chart(lines, "x & y", may_log=True))
    texts = {node.text: node for node in drawing.iter("text")}
    assert {"a <b>", "flat", "1", "10", "100", "1000", "step"} <= set(texts)
    assert abs(float(texts["a <b>"].get("y")) - float(texts["flat"].get("y"))) >= 14
    heights = [float(texts[tick].get("y")) for tick in ("1", "10", "100", "1000")]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert max(len(node.get("d")) for node in drawing.iter("path")) < 4000
    linear = ElementTree.fromstring(chart(lines, "x", may_log=False))
    assert "0" in {node.text for node in linear.iter("text")}


def test_the_demo_is_credited(monkeypatch, tmp_path):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))

    def store(file):
        return SimpleNamespace(manifest=SimpleNamespace(source={"knobs": {"file": file, "separator": "\t", "n": 1}}))

    assert demo_folder([store("elsewhere/a.tsv"), store("{cache}/demo-quick/seen.tsv")]) == tmp_path / "demo-quick"
    assert demo_folder([store("{cache}/demography/a.tsv")]) is None
    assert any("OpenMoji" in credit.attribution and "CC BY-SA 4.0" in credit.attribution for credit in demo_credits())

    folder = tmp_path / "demo"
    assert teacher_name(f"local-dir:{folder}/teacher", folder) == "EfficientNet-Lite0 + all-MiniLM-L6-v2"
    assert teacher_name("local-dir:/models/mine", folder) == "mine"
    assert teacher_name("ViT-L-14/openai", None) == "ViT-L-14/openai"
    assert teacher_name("hf-hub:some/name", None) == "some/name"


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (say.count(3551), "3,551"),
        (say.parameters(599_920), "0.60 M"),
        (say.parameters(22_700_000), "22.7 M"),
        (say.parameters(None), "–"),
        (say.percent(0.2743), "27.4%"),
        (say.duration(0.0112), "11.2 ms"),
        (say.duration(5.04), "5 s"),
        (say.duration(243), "4 min 3 s"),
        (say.duration(3 * 3600), "3.0 h"),
        (say.roughly(975), "16 min"),
        (say.roughly(0.0012), "1.2 ms"),
        (say.size(812), "812 B"),
        (say.size(1_880_000), "1.9 MB"),
        (say.times(9.63), "9.6 times"),
        (say.part_of(800, 4700), ("1/6", "the size of")),
        (say.part_of(800, 1000), ("0.8 times", "the size of")),
        (say.part_of(994, 1000), ("0.99 times", "the size of")),
        (say.part_of(997, 1000), ("as large", "as")),
        (say.part_of(1040, 1000), ("as large", "as")),
        (say.part_of(2000, 1000), ("2 times", "the size of")),
        (say.listing(["a", "b", "c"]), "a, b and c"),
        (say.listing(["a"]), "a"),
    ],
)
def test_numbers_as_people_read_them(told, wanted):
    assert told == wanted


TEXT_STUDENT = """
name = "words"
out = "{run}"
[data]
texts = "{stores}/texts"
batch_size = 16
[student]
kind = "openclip_text"
model = {model}
[[losses]]
kind = "feature_regression"
field = "text"
[optim]
kind = "sgd"
schedule = "constant"
epochs = 1
[[evals]]
kind = "retrieval"
store = "{stores}/images"
"""


def test_the_report_of_a_student_of_texts_speaks_of_texts(toy_stores, tmp_path, run_cli):
    from tests.conftest import TEACHER

    recipe, model = tmp_path / "words.toml", json.dumps(TEACHER, separators=(", ", " = "))
    recipe.write_text(TEXT_STUDENT.format(run=tmp_path / "run", stores=toy_stores / "out", model=model))
    assert run_cli("train-student", recipe)[0] == 0
    code, _, err = run_cli("evaluate", tmp_path / "run")
    assert code == 0, err
    for text in ((tmp_path / "run" / name).read_text() for name in ("report.md", "report.html")):
        assert "was asked once about 160 texts" in text and "160 texts," in text
        assert "SGD, learning rate 0.0008, linear warm-up of 4 epochs, then constant" in text
        assert "AdamW" not in text and "augmented views" not in text and "image tower" not in text


def test_teachers_whose_weights_nobody_recorded_are_reported_as_that(run, finished, tmp_path):
    """As of features that somebody else has stored, imported without a hash."""
    known = ("weights_sha256", "precision")
    images = Path(shutil.copytree(run.facts()["stores"]["images"], tmp_path / "images"))
    edit(images / "manifest.json", lambda one: [next(iter(one["teachers"].values())).pop(name) for name in known])
    edit(run.path / "student.json", lambda facts: [facts["teacher"].pop(name) for name in known])
    edit(run.path / "student.json", lambda facts: facts["stores"].update(images=str(images)))
    page, text = written(run)
    assert "weights not recorded" in text and "| not recorded |" in text and "weights not recorded" in page


def test_a_view_is_told_as_one_and_its_store_has_the_size_and_the_cost_once(run, tmp_path):
    store = FeatureStore(store_of(run))
    for name in ("view", "more"):
        select(store.path, np.arange(5 if name == "view" else 9), tmp_path / name)
    view, more = (FeatureStore(tmp_path / name) for name in ("view", "more"))
    assert teacher_pass(view) == teacher_pass(store)
    told, whole = store_facts(view, teacher_pass(view)), store_facts(store, teacher_pass(store))
    assert told.rows == "5" and told.digest == view.digest != store.digest
    assert told.view == f"a view of 5 of the 70 rows of {store.path}" and whole.view == ""
    assert {told.seconds, told.bytes, told.bytes_per_row, told.shards, told.failed} == {"–"}
    assert "–" not in (whole.seconds, whole.bytes, whole.bytes_per_row, whole.shards, whole.failed)
    assert [one.path for one in with_bases([view, more, store])] == [store.path, view.path, more.path]

    found = cost(run.recipe(), run.facts(), {"images": view, "images.1": more, "texts": store})
    alone = cost(run.recipe(), run.facts(), {"images": store})
    assert found["once"] == alone["once"] == told_once(store) and alone["views"] == []
    assert found["passes"] == alone["passes"] == 1
    assert found["views"] == [f"{one.path} is a view of {n} of the 70 rows of {store.path}" for one, n in
                              ((view, 5), (more, 9))]  # fmt: skip
    assert {tuple(row["stores"]) for row in found["rows"]} == {(str(store.path),)}

    edit(run.path / "student.json", lambda facts: facts["stores"].update(images=str(view.path)))
    text, plain = written(run)
    for shown in (Page(text).text, plain.replace("\\", "")):
        assert f"{view.path} is a view of 5 of the 70 rows of {store.path}, and no pass made it" in shown
        assert shown.count(whole.seconds) >= 1 and f"a view of 5 of the 70 rows of {store.path}" in shown
    (line,) = (line for line in plain.splitlines() if line.startswith(f"| {view.path}".replace("_", "\\_")))
    assert line.count("| – ") == 5


def test_beside_the_cost_of_a_plain_loop_stands_that_of_one_that_asks_about_no_text_twice(run):
    """Texts that are drawn again are asked again by a plain loop; one that keeps their vectors asks once."""
    stores = {"images": FeatureStore(store_of(run)), "texts": FeatureStore(Path(store_of(run)).parent / "texts")}
    passes = {name: teacher_pass(store) for name, store in stores.items()}
    facts = run.facts() | {"steps": 1000, "images_seen": 1000}
    (texts,) = (one for one in online(run.recipe(), facts, passes, 16) if one.what == "texts")
    assert texts.number > 160 and texts.once_each == pytest.approx(160 * texts.each)
    (views,) = (one for one in online(run.recipe(), facts, passes, 16) if one.what == "views of images")
    assert views.once_each == views.seconds
    told = cost(run.recipe(), facts, stores)["texts_once"]
    assert told and told != cost(run.recipe(), facts, stores)["always"]
    assert cost(run.recipe(), facts | {"steps": 1}, {"images": stores["images"]})["texts_once"] == ""

    edit(run.path / "student.json", lambda facts: facts.update(steps=1000))
    text, plain = written(run)
    assert "Online is a plain loop, which asks about each text of each batch" in Page(text).text
    assert "about no text twice would take at most" in plain and "if no text is asked about twice)" in Page(text).text


def test_there_is_a_blank_between_any_two_sentences(run, tmp_path, monkeypatch):
    """With all that a page may tell or not: views, two other machines, several evals, few groups."""
    stores = Path(store_of(run)).parent
    views = {what: str(select(stores / what, np.arange(5), tmp_path / what).path) for what in ("images", "texts")}
    edit(run.path / "student.json", lambda facts: (facts["stores"].update(views), facts.update(steps=1000)))
    elsewhere = {"elsewhere": ["one", "another"]}
    monkeypatch.setattr(sys.modules["distillkit.report.page"], "cost", lambda *given: cost(*given) | elsewhere)
    edit(run.path / "recipe.json", lambda content: content["recipe"].update(note="A quick one"))

    def change(evaluation):
        for by_name in evaluation["results"]["retrieval"].values():
            by_name.update({"R@10.majority": 0.4321} | {k: 5.0 for k in by_name if k.endswith(".groups")})
        evaluation["results"]["second"] = evaluation["results"]["retrieval"]

    edit(run.path / "evaluation.json", change)
    text, plain = written(run)
    page = Page(text.partition("<body>")[2])
    for shown in (plain, *page.shown):
        sentences = re.sub(r"`[^`]*`|\w+\.(json|npy)|<[^>]*>", "", shown)  # names of files are no sentences
        assert not re.search(r"[a-z0-9%)]\.[A-Za-z]", sentences), re.findall(r".*[a-z0-9%)]\.[A-Za-z].*", sentences)
        assert not re.search(r"[a-z0-9%)]\./", shown), shown
    for told in (page.text, plain.replace("\\", "")):
        assert "would take at most" in told and told.count("and no pass made it") == 2
        assert told.count("The teacher ran on another machine") == 2


def test_where_one_answer_ends_is_seen_although_captions_have_commas(run):
    path = run.path / "evaluation/retrieval.arrow"
    rows = read_rows(path)
    answers = {
        who: replace(one, names=[f"a, b{n}, c" for n in range(len(one.names))]) for who, one in rows.answers.items()
    }
    write_rows(path, replace(rows, answers=answers))
    lines = [line for line in written(run)[1].splitlines() if line.startswith("| a, b")]
    assert len(lines) == 24
    for line in lines:
        for cell in line.strip("| ").split(" | ")[1:]:
            assert [bool(re.fullmatch(r"(\*\*)?a, b\d+, c(\*\*)?", one)) for one in cell.split(" / ")] == [True] * 5


def test_a_student_as_large_as_its_teacher_is_not_one_time_its_size(run):
    teacher = run.facts()["teacher"]["parameters"]["image"]
    edit(run.path / "student.json", lambda facts: facts.update(towers={"image": teacher}, parameters=teacher))
    text, plain = written(run)
    assert "as large as the teacher’s image tower: " in Page(text).text and "<dd>1 times</dd>" not in text
    assert "1 times the size" not in text + plain
    same = replace(NETWORKS, student_parameters=4_710_000)
    assert headline(table(0.5, 0.3, 0.15), same, "").endswith(", with an image tower just as large")


def test_which_p_is_of_one_test_alone_and_which_is_corrected_is_told():
    test = Against(0.15, 0.04, 0.26, 0.0001, 0.05, 0.0, 400, Verdict("better", 0.0013))
    assert against_baseline(table(0.5, 0.3, 0.15), test).endswith("on the same items, p = 0.0001.")
    told = against_baseline(table(0.5, 0.3, 0.15), test, 13)
    assert told.endswith("on the same items, p = 0.0001, 0.0013 after Holm over the 13 tests of this page.")


def told_once(store):
    return say.duration(teacher_pass(store).seconds)
