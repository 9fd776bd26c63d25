"""Evals whose names make one file name keep their answers side by side, and what was kept before stays where it is."""

import json
from itertools import permutations

import pytest

from distillkit.evaluation.asked import slug_of
from distillkit.evaluation.formats import mteb
from distillkit.evaluation.rows import Rows, is_rows, read_rows, write_rows
from distillkit.evaluation.whose import stem_of
from distillkit.report.answers import rows_of
from tests.evaluation.test_rows import answers

ALIKE = (
    "near it",
    "near-it",
    "Near it",
    "near",
    "near.it",
    "near.names",
    "near.NAMES",
    "(near it)",
    "!",
    "?",
    "é",
    "É",
)


def rows(name):
    return Rows(name, {"eval": {"kind": "x"}, "stores": {}}, {"student": "s"}, {"student": answers([1, 2, 1, 3])})


def keep(folder, name):
    """As an evaluation keeps them: rows, and a second table of them."""
    stem = stem_of(folder, name)
    write_rows(folder / f"{stem}.it.arrow", rows(name))
    write_rows(folder / f"{stem}.arrow", rows(name))
    return stem


@pytest.mark.parametrize("first", range(len(ALIKE)))
def test_names_that_are_alike_never_share_a_file(first, tmp_path):
    names = [*ALIKE[first:], *ALIKE[:first]]
    made = {name: keep(tmp_path, name) for name in names}
    assert len({stem.casefold() for stem in made.values()}) == len(names)
    plain = slug_of(names[0])
    assert made[names[0]] == plain or not is_rows(tmp_path / f"{plain}.arrow"), "who comes first has the plain name"
    for name, stem in made.items():
        assert stem_of(tmp_path, name) == stem == keep(tmp_path, name)
        for table in ("", ".it"):
            path = tmp_path / f"{stem}{table}.arrow"
            assert is_rows(path) and read_rows(path).name == name


def test_what_older_versions_kept_stays_where_it_is(tmp_path):
    before = {"A": "A", "a": "a", "near it": "near-it", "in-v1.5": "in-v1.5"}
    for name, file in before.items():
        write_rows(tmp_path / f"{file}.arrow", rows(name))
    (tmp_path / "floor.json").write_text(json.dumps({"name": "floor", "numbers": {}}))
    assert {name: stem_of(tmp_path, name) for name in (*before, "floor")} == before | {"floor": "floor"}
    assert stem_of(tmp_path, "Floor").startswith("Floor-") and stem_of(tmp_path, "near-it").startswith("near-it-")
    (tmp_path / "near-it.arrow").write_bytes(b"")  # damaged: whoever comes writes it anew
    assert stem_of(tmp_path, "near-it") == "near-it"


def test_files_for_other_tools_are_one_for_each_eval():
    for names in permutations(("near it", "near-it", "Near it")):
        evaluation = {"results": {name: {"student": {"R@1": 0.5}} for name in names}, "networks": {"student": "s"}}
        files = {name: text for name, text in mteb(evaluation, "m").items() if "model_meta" not in name}
        assert [json.loads(text)["task_name"] for text in files.values()] == list(names)
        assert len({name.casefold() for name in files}) == len(names)


def test_evals_of_several_files_keep_the_rows_of_all(world, run, run_cli, tmp_path):
    def ask(name, k):
        more = (world / "more.toml").read_text().replace('kind = "knn"', f'kind = "knn"\nname = "{name}"')
        (tmp_path / "eval.toml").write_text(more.replace("k = 3", f"k = {k}"))
        run_cli("evaluate", run, "--eval", tmp_path / "eval.toml", "--only", name)

    def stamps():
        return {path.name: path.stat().st_mtime_ns for path in (run / "evaluation").iterdir() if path.is_file()}

    asked = {"near it": 1, "near-it": 3, "Near it": 2}
    for name, k in asked.items():
        ask(name, k)
    before, told = stamps(), json.loads((run / "evaluation.json").read_text())
    for name, k in asked.items():
        assert rows_of(run, told, name).made_of["eval"]["k"] == k == told["evals"][name]["eval"]["k"]
        ask(name, k)
    assert stamps() == before, "nothing is measured twice"


def test_rows_that_an_older_version_wrote_over_are_nobodys(run):
    told = json.loads((run / "evaluation.json").read_text())
    name = next(name for name, one in told["evals"].items() if one["rows"])
    told["evals"]["another"] = told["evals"][name]
    assert rows_of(run, told, name).name == name and rows_of(run, told, "another") is None
