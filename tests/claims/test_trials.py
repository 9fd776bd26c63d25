"""Arms become recipes: lines, other stores, other arms' runs, and the cut of a quick look."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from distillkit.claims import results
from distillkit.claims.file import Arm, ClaimsFile
from distillkit.claims.trials import Experiment, all_trials
from distillkit.errors import RecipeError

RECIPE = "pipelines/demo/dime_fm.toml"


def experiment(*arms, quick=False, **more):
    content = {
        "name": "toy",
        "title": "Toy",
        "paper": "https://example.org",
        "seeds": [0, 1],
        "evals": [{"kind": "retrieval", "name": "unseen", "store": "stores/demo/unseen"}],
        "arms": [{"recipe": RECIPE} | arm for arm in arms],
        "claims": [{"text": "t", "on": "unseen.R@1", "better": [[arms[0]["name"], arms[1]["name"]]]}],
    }
    return Experiment(ClaimsFile.model_validate(content | more), Path("runs/claims"), quick)


A, B = {"name": "a"}, {"name": "b", "set": ["optim.epochs=3.0"]}


def test_each_arm_and_seed_has_a_folder_and_whole_seeds_come_first():
    works = all_trials(experiment(A, B))
    assert [work.name for work in works] == ["a@0", "b@0", "a@1", "b@1"]
    assert [str(work.recipe.folder) for work in works][:2] == ["runs/claims/toy/a@0", "runs/claims/toy/b@0"]
    assert [work.recipe.seed for work in works] == [0, 0, 1, 1]
    assert works[1].recipe.optim.epochs == 3.0 and works[0].recipe.baseline is None


def test_lines_of_the_file_come_before_those_of_an_arm():
    works = all_trials(experiment(A, B, set=["optim.epochs=9.0"]))
    assert [work.recipe.optim.epochs for work in works][:2] == [9.0, 3.0]


def test_a_baseline_is_an_arm_of_its_own():
    one = all_trials(experiment({"name": "a", "baseline": True}, B))[0].recipe
    assert (
        [term.kind for term in one.losses] == ["contrastive"] and one.data.captions == "unique" and not one.data.texts
    )
    with pytest.raises(RecipeError, match=r"arm a: .*clip_kd.toml has no \[baseline\]"):
        all_trials(experiment({"name": "a", "baseline": True, "recipe": "pipelines/demo/clip_kd.toml"}, B))


def test_other_stores_are_those_of_the_evals_too():
    works = all_trials(experiment({"name": "a", "replace": {"stores/demo/": "stores/other/"}}, B))
    assert [one.images for one in works[0].recipe.data.mix] == ["stores/other/images", "stores/other/restyled"]
    assert [work.recipe.evals[0].knobs["store"] for work in works][:2] == ["stores/other/unseen", "stores/demo/unseen"]


def test_an_arm_comes_after_the_run_that_it_goes_on_from_with_the_same_seed():
    later = {"name": "later", "set": ['student.inherit="run:{run:first}"']}
    works = all_trials(experiment(later, {"name": "first"}))
    assert [work.name for work in works] == ["first@0", "later@0", "first@1", "later@1"]
    assert works[3].needs == (Path("runs/claims/toy/first@1"),)
    assert works[3].recipe.student.knobs["inherit"] == "run:runs/claims/toy/first@1"


def test_arms_that_need_each_other_or_nobody_are_refused():
    one = {"name": "a", "set": ['student.inherit="run:{run:b}"']}
    other = {"name": "b", "set": ['student.inherit="run:{run:a}"']}
    with pytest.raises(RecipeError, match="arms need each other: a, b"):
        all_trials(experiment(one, other))
    with pytest.raises(RecipeError, match="no arm 'nobody'"):
        all_trials(experiment({"name": "a", "set": ['student.inherit="run:{run:nobody}"']}, B))


def test_a_quick_look_cuts_numbers_and_leaves_what_is_less():
    quick = {
        "seeds": [5],
        "most": {"optim.epochs": 4.0, "data.batch_size": 32, "data.text_batch_size": 64, "no.such": 1},
    }
    works = all_trials(_quick(quick))
    assert [(work.name, work.recipe.optim.epochs) for work in works] == [("a@5", 4.0), ("b@5", 3.0)]
    assert works[0].recipe.data.batch_size == 32 and isinstance(works[0].recipe.data.batch_size, int)
    assert str(works[0].recipe.folder) == "runs/claims/toy_quick/a@5"


def _quick(quick):
    whole = experiment(A, B).file
    return Experiment(
        ClaimsFile.model_validate(whole.model_dump(by_alias=True) | {"quick": quick}), Path("runs/claims"), True
    )


def test_names_of_arms_are_names_of_folders():
    with pytest.raises(ValueError, match="name"):
        Arm.model_validate({"name": "../up", "recipe": RECIPE})


def test_processes_that_end_together_write_one_whole_file(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "RunFolder", lambda path: SimpleNamespace(facts=lambda: {"seconds": 60.0}))
    shared = replace(experiment(A, B), runs=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: results.write_results(tmp_path / "out", shared, (), "again"), range(64)))
    assert [path.name for path in paths] == ["toy.json"] and results.read_results(*paths).minutes == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["toy.json"]
