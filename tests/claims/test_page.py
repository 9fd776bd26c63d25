"""docs/results.md is what the committed results and files of claims make."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from distillkit.claims.file import read_claims
from distillkit.claims.headline import BEGIN, END, put
from distillkit.claims.jobs import write
from distillkit.claims.judge import HOLDS, NOT, UNSURE, Judged, Pair, Point
from distillkit.claims.page import page, write_page
from distillkit.claims.results import Results
from distillkit.errors import RecipeError, TrainError

ROOT = Path(__file__).parents[2]

ONE = Pair("student", "baseline", 0.254, 0.18, 0.33, 0.0001, 0.0002, HOLDS, seeds=(0.2, 0.3, 0.262))
OTHER = Pair("few", "student", -0.01, -0.05, 0.03, 0.4, 0.8, UNSURE, "it would take about 3,100 items")
ASKED = replace(OTHER, one="a", other="b")
CURVE = (("student", (Point(0.125, 0.3, 0.25, 0.35), Point(1.0, 0.5, 0.45, 0.55))),)
FOUND = Results(
    "toy",
    "Toy",
    "https://example.org",
    "distillkit claims toy.toml",
    False,
    (
        Judged("It beats | it", "all.R@1", 0.0, HOLDS, (ONE,), 720, 3),
        Judged("All hold", "all.R@1", 0.0, UNSURE, (ONE, OTHER), 720, 3, CURVE, "share"),
        Judged("It is not", "all.R@1", 0.0, NOT, (Pair("a", "b", -0.2, -0.3, -0.1, 0.0, 0.0, NOT),), 720, 3),
    ),
    seeds=3,
    runs=9,
    minutes=12.5,
    distillkit="1.0",
)


def test_the_committed_page_is_what_the_committed_results_make(tmp_path):
    made = write([Path("pipelines/claims"), Path("benchmarks/results/claims")], tmp_path / "results.md")
    for path in made:
        assert path.read_text() == (ROOT / "docs" / path.name).read_text(), "distillkit claims --write makes it again"
    readme = (ROOT / "README.md").read_text()
    (tmp_path / "README.md").write_text(readme)
    places = [Path("pipelines/claims"), Path("benchmarks/results/claims")]
    (tmp_path / "choosing.md").write_text((ROOT / "docs/choosing.md").read_text())
    pages = write(places, tmp_path / "again.md", [tmp_path / "README.md", tmp_path / "choosing.md"])[-2:]
    assert [page.read_text() for page in pages] == [readme, (ROOT / "docs/choosing.md").read_text()]
    rows = re.findall(
        r"^\| [^|]+ \| [^|]+ \| (?:\*\*)?(holds|does not hold|not separable|not run yet)", made[0].read_text(), re.M
    )
    assert len(rows) == 25


def test_a_row_has_verdict_effect_interval_seeds_and_items(tmp_path):
    text = page(tmp_path / "results.md", [FOUND])
    assert "Of 3 claims of 1 paper 1 holds, 1 does not hold and 1 cannot be told apart." in text
    assert "| Toy | It beats \\| it | **holds** | +0.254 | +0.180 to +0.330 | 3 | 720 | `all.R@1` |" in text
    assert "| Toy | All hold | **not separable** | -0.010 | -0.050 to +0.030 | 3 | 720 | `all.R@1` |" in text
    assert "| student | baseline | +0.254 | +0.180 to +0.330 | +0.200, +0.300, +0.262 | holds |" in text
    assert "| few | student | -0.010 | -0.050 to +0.030 |  | not separable |" in text
    assert "\nIt beats | it: holds. Seed by seed +0.200, +0.300, +0.262.\n" in text
    assert "\nAll hold: not separable, it would take about 3,100 items.\n" in text
    assert "`distillkit claims toy.toml`: 9 runs, 12.5 minutes of training, distillkit 1.0" in text


def test_a_headline_is_a_sentence_and_a_table_between_its_marks(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n\n{BEGIN}\nof 1870\n{END}\n\nafter\n")
    put(path, [FOUND])
    text = path.read_text()
    assert text.startswith("before\n\n") and text.endswith("\n\nafter\n") and "1870" not in text
    assert "Of 3 claims of 1 paper 1 holds, 1 does not hold and 1 cannot be told apart." in text
    assert "| Toy | It beats \\| it | holds | +0.254 `R@1`, +0.180 to +0.330 |" in text
    assert "| Toy | All hold |" not in text, "neither its paper's first claim, nor decided"
    assert f"| Toy | {FOUND.claims[2].text} | does not hold |" in text
    assert put(path, [FOUND]).read_text() == text


def test_a_page_may_ask_how_many_claims_of_a_paper_hold(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("| toy: <!-- claims of toy -->9 hold<!-- /claims --> |\n")
    made = "| toy: <!-- claims of toy -->1 holds, 1 does not hold and 1 cannot be told apart<!-- /claims --> |\n"
    assert put(path, [FOUND]).read_text() == made and put(path, [FOUND]).read_text() == made
    path.write_text("<!-- claims of toys -->9 hold<!-- /claims -->")
    with pytest.raises(TrainError, match="no such file of claims; there are toy"):
        put(path, [FOUND])


def test_a_page_without_marks_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n")
    with pytest.raises(TrainError, match="no place for a headline"):
        put(path, [FOUND])
    assert path.read_text() == "before\n"


def test_a_curve_is_a_drawing_beside_the_page(tmp_path):
    paths = write_page(tmp_path / "results.md", [FOUND])
    assert [path.name for path in paths] == ["results.md", "results-toy-2.svg"]
    assert "](results-toy-2.svg)" in paths[0].read_text()
    tree = ElementTree.fromstring(paths[1].read_text())
    assert len(tree.findall("{*}circle")) == 2
    assert {text.text for text in tree.findall("{*}text")} >= {"student", "share", "all.R@1", "0.125", "1"}


CLAIMED = """
name = "toy"
title = "Toy"
paper = "https://example.org"
seeds = [0]
evals = [{ kind = "retrieval", name = "all", store = "stores/toy" }]
arms = [{ name = "a", recipe = "toy.toml" }, { name = "b", recipe = "toy.toml" }]
[[claims]]
text = "It is not"
on = "all.R@1"
better = [["a", "b"]]
remark = "Steps were few: with three times as many it holds."
"""


@pytest.mark.parametrize("holds", [HOLDS, NOT, UNSURE])
def test_a_remark_stands_where_a_claim_does_not_hold(tmp_path, holds):
    (tmp_path / "toy.toml").write_text(CLAIMED)
    judged = Judged("It is not", "all.R@1", 0.0, holds, (replace(ASKED, holds=holds),), 720, 3)
    (tmp_path / "toy.json").write_text(json.dumps(asdict(replace(FOUND, claims=(judged,)))))
    text = write([tmp_path], tmp_path / "page.md")[0].read_text()
    assert ("Steps were few" in text) == (holds != HOLDS)


def test_fewer_seeds_than_the_file_asks_for_are_told(tmp_path):
    (tmp_path / "toy.toml").write_text(CLAIMED.replace("seeds = [0]", "seeds = [0, 1, 2, 3, 4]"))
    judged = Judged("It is not", "all.R@1", 0.0, UNSURE, (ASKED,), 720, 3)
    (tmp_path / "toy.json").write_text(json.dumps(asdict(replace(FOUND, claims=(judged,)))))
    assert "Of 3 of the 5 seeds that the file asks for" in write([tmp_path], tmp_path / "page.md")[0].read_text()


def test_verdicts_on_other_claims_are_refused(tmp_path):
    (tmp_path / "toy.toml").write_text(CLAIMED)
    (tmp_path / "toy.json").write_text(json.dumps(asdict(FOUND)))
    with pytest.raises(TrainError, match=r"not those that were judged; run `distillkit claims toy.toml` again"):
        write([tmp_path], tmp_path / "page.md")


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ('better = [["a", "b"]]', 'better = [["b", "a"]]'),
        ('better = [["a", "b"]]', 'order = { a = 1.0, b = 2.0, c = 3.0 }\nthan = "c"'),
        (
            'better = [["a", "b"]]',
            'better = [["a", "b"]]\ncurves = [{ name = "a", arms = ["a", "b"], x = [1.0, 2.0] }]',
        ),
        ("stores/toy", "stores/other"),
        ('name = "b", recipe = "toy.toml"', 'name = "b", recipe = "toy.toml", set = ["optim.lr=1.0"]'),
    ],
    ids=["pair turned round", "an order by now", "a curve by now", "another store", "an arm changed"],
)
def test_verdicts_are_of_these_very_arms_and_evals(tmp_path, line, other):
    """Else the words of today's file would stand beside the effect of another pair, with the wrong sign."""
    text = CLAIMED.replace("arms = [", 'arms = [{ name = "c", recipe = "toy.toml" }, ')
    (tmp_path / "toy.toml").write_text(text)
    asks = read_claims(tmp_path / "toy.toml").asks
    judged = Judged("It is not", "all.R@1", 0.0, UNSURE, (ASKED,), 720, 3)
    (tmp_path / "toy.json").write_text(json.dumps(asdict(replace(FOUND, claims=(judged,), asks=asks))))
    write([tmp_path], tmp_path / "page.md")
    (tmp_path / "toy.toml").write_text(text.replace("seeds = [0]", "seeds = [0, 1]").replace("Steps were few", "Hm"))
    write([tmp_path], tmp_path / "page.md")
    (tmp_path / "toy.toml").write_text(text.replace(line, other))
    with pytest.raises(TrainError, match=r"not those that were judged; run `distillkit claims toy\.toml` again"):
        write([tmp_path], tmp_path / "page.md")


@pytest.mark.parametrize("name", ["toy_quick.json", "before.json"])
def test_a_quick_look_is_told_only_where_there_is_nothing_else(tmp_path, name):
    (tmp_path / "toy.json").write_text(json.dumps(asdict(FOUND)))
    (tmp_path / name).write_text(json.dumps(asdict(replace(FOUND, quick=True))))
    assert "quick look" not in write([tmp_path], tmp_path / "page.md")[0].read_text()
    (tmp_path / name).write_text(json.dumps(asdict(FOUND)))
    with pytest.raises(TrainError, match=r"results of 'toy', as .* is; name one of the two"):
        write([tmp_path], tmp_path / "page.md")


def test_a_quick_look_says_that_it_is_one(tmp_path):
    assert "**holds** (quick look)" in page(tmp_path / "results.md", [replace(FOUND, quick=True)])


def test_places_without_either_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="neither files of claims nor results"):
        write([tmp_path], tmp_path / "page.md")
