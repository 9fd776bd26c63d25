"""docs/choosing.md names kinds, goals and keys that exist, and its bytes are right."""

import json
import re
from pathlib import Path

from distillkit.drafting.goals import GOALS
from distillkit.recipe.registry import kinds

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/choosing.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("## Questions")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| you want")
]


def test_every_goal_has_a_row():
    assert {goal for row in ROWS for goal in re.findall(r"`([\w-]+)`", row[4])} == GOALS.keys()


def test_losses_and_students_exist():
    words = {word for row in ROWS for word in re.findall(r"`(\w+)`", f"{row[2]} {row[3]}")}
    known = {*kinds("losses"), *kinds("students")}
    assert len(words & known) >= 11 and words - known <= {"embed_dim", "classes"}


def test_claims_are_those_of_the_page_of_results():
    papers = {re.sub(r"^\[(.*?)\].*", r"\1", row[5]) for row in ROWS} - {""}
    results = (ROOT / "docs/results.md").read_text()
    assert len(papers) == 5 and all(f"| {paper}" in results for paper in papers)


def test_bytes_of_a_row_are_its_numbers_times_two():
    for what, numbers in (("768 wide", 768), ("512 wide", 512), ("196 x 768", 196 * 768), ("16 x 768 |", 16 * 768)):
        (cell,) = {found.replace(",", "") for found in re.findall(rf"{re.escape(what)}[^|\n]*\|? ([\d,]+) \|", TEXT)}
        assert int(cell) == 2 * numbers


def measured(name):
    """The rows of a file of benchmarks that are committed."""
    return json.loads((ROOT / f"benchmarks/results/cpu/{name}.json").read_bytes())["rows"]


def test_milliseconds_are_those_of_the_benchmark():
    rows = {re.fullmatch(r"loss, .*: (.+) / .*", row["name"])[1]: row["ours"] for row in measured("losses")}
    table = TEXT.partition("milliseconds of a step")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert {goal for row in cells for goal in re.findall(r"`([\w-]+)`", row[0])} == GOALS.keys() and len(cells) == 6
    for goal, terms, milliseconds in cells:
        took = 1000 * sum(rows[term] for term in terms.split(", "))
        assert milliseconds == f"{float(f'{took:.2g}'):,.0f}", f"{goal}: {took:.3g}"


def test_times_of_a_live_teacher_are_those_of_the_benchmark():
    told = re.findall(r"([\d.]+) times (?:as long )?under a (ViT-\w/\d+)", TEXT)
    assert {
        teacher: f"{row['ours']:.2g}"
        for row in measured("cached_step")
        for teacher in re.findall(r"live (ViT-\w/\d+)", row["name"])
    } == {teacher: times for times, teacher in told}
