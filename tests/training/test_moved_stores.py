"""Stores that were moved, or are named from another folder: they are the same to the byte, and so is the student."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from distillkit.errors import StoreError
from distillkit.evaluation.arms import arms_of
from distillkit.identity import as_begun
from distillkit.report.knew import Knew, knew
from distillkit.report.stores import training_stores
from distillkit.report.then import as_then
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore


@pytest.fixture
def moved(student, tmp_path):
    """What tells train-student that all stores of its recipe lie in another folder."""
    shutil.copytree(student.stores, tmp_path / "moved")
    text = student.recipe.read_text()
    student.first = text
    student.elsewhere = text.replace(str(student.stores), str(tmp_path / "moved"))
    assert student.elsewhere != text
    return student


def test_a_killed_run_goes_on_from_where_they_are_now(moved, killed):
    assert moved()[0] == 0
    want = (moved.run / "student.safetensors").read_bytes()
    shutil.rmtree(moved.run)
    killed()
    moved.recipe.write_text(moved.elsewhere)
    code, err = moved("checkpoints.every_steps=2")
    assert code == 0 and "anew" not in err, err
    assert (moved.run / "student.safetensors").read_bytes() == want
    assert str(moved.stores) not in (moved.run / "student.json").read_text()


def test_a_finished_run_is_told_where_they_are_and_measured_there(moved, tmp_path):
    moved.recipe.write_text(moved.elsewhere)
    assert moved()[0] == 0
    (tmp_path / "moved").rename(tmp_path / "again")
    moved.recipe.write_text(moved.elsewhere.replace(str(tmp_path / "moved"), str(tmp_path / "again")))
    code, err = moved()
    assert code == 0 and "already trained" in err, err
    stores = training_stores(RunFolder(moved.run))
    assert stores and all(store.path.is_relative_to(tmp_path / "again") for store in stores.values())
    code, _, err = moved.cli("evaluate", moved.run)
    assert code == 0, err


def test_another_store_at_another_place_is_another_recipe(moved, tmp_path, run_cli):
    assert moved()[0] == 0
    part = tmp_path / "part"
    assert run_cli("store", "view", moved.stores / "images", part, "--share", "0.8")[0] == 0
    moved.recipe.write_text(moved.first.replace(f'"{moved.stores}/images"', f'"{part}"'))
    code, err = moved()
    assert code == 1 and "of another recipe" in err and f"'{moved.stores}/images' -> '{part}'" in err, err


def test_stores_are_told_apart_by_what_they_hold_wherever_a_recipe_names_them():
    def made(place, **digests):
        mix = [{"images": f"{place}/a"}, {"images": f"{place}/b"}]
        data = {"mix": mix, "texts": f"{place}/t", "also": {"x": {"images": f"{place}/x", "teacher": "x"}}}
        stores = {"images": "1", "images.1": "2", "texts": "3", "also.x": "4"}
        return {"recipe": {"seed": 0, "data": data}, "stores": stores | digests}

    before = made("here")
    assert as_begun(made("there"), before) == before
    other = as_begun(made("there", **{"images.1": "5"}), before)
    assert other["recipe"]["data"]["mix"] == [{"images": "here/a"}, {"images": "there/b"}]
    assert as_begun(made("there"), None) == made("there")


def test_a_teacher_of_every_mixed_store_is_not_that_of_the_last_one_alone():
    def made(**also):
        data = {"mix": [{"images": "a"}, {"images": "b"}], "also": {"x": {"images": None, "teacher": "x"} | also}}
        return {"recipe": {"data": data}, "stores": {"images": "1", "images.1": "2", "also.x": "2"}}

    every, one = made(), made(images="b")
    assert as_begun(every, one) == every and as_begun(one, every) == one


def test_runs_that_differ_by_their_seed_and_the_place_of_their_stores_are_one_arm():
    def run(place, seed):
        made_of = {"recipe": {"seed": seed, "data": {"images": f"{place}/a"}}, "stores": {"images": "1"}}
        path, recipe = Path(f"runs/{place}{seed}"), SimpleNamespace(seed=seed)
        facts = {"teacher": {}}
        return SimpleNamespace(path=path, name=path.name, recipe=recipe, facts=facts, made_of=made_of)

    (arm,) = arms_of([run("here", 0), run("there", 1)], None)
    assert arm.seeds == (0, 1)


def test_numbers_of_a_store_that_is_gone_keep_no_report_from_being_written(tmp_path):
    table = SimpleNamespace(name="zoo", eval="zoo", store=str(tmp_path / "gone"))
    assert knew([table], {}, [SimpleNamespace()]) == {"zoo": Knew()}


def test_who_stands_in_another_folder_is_told_which(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=f"^stores/a: no complete feature store in {tmp_path} [(]extract it first"):
        FeatureStore("stores/a")


def test_what_lies_in_a_moved_store_has_moved_with_it(student, run_cli, tmp_path):
    """Mined neighbours, beside a view of the images, and a further teacher that their store holds."""
    shutil.copytree(student.stores, tmp_path / "here")
    near = tmp_path / "near.toml"
    near.write_text(f'queries = "{tmp_path}/here/images"\ncorpus = "{tmp_path}/here/texts"\nk = 2\n')
    assert run_cli("mine-neighbours", near)[0] == 0
    assert run_cli("store", "view", tmp_path / "here/images", tmp_path / "here/part", "--rows", "0:32")[0] == 0
    text = student.recipe.read_text().replace(str(student.stores), str(tmp_path / "here"))
    text = text.replace('here/images"\ntexts', 'here/part"\nsampling = "proximal"\nalso.second = {}\ntexts')
    student.recipe.write_text(text)
    code, err = student()
    assert code == 0, err
    assert {"images", "texts", "neighbours", "also.second"} == set(as_then(RunFolder(student.run)))
    (tmp_path / "here").rename(tmp_path / "there")
    student.recipe.write_text(text.replace(str(tmp_path / "here"), str(tmp_path / "there")))
    code, err = student()
    assert code == 0 and "already trained" in err, err
    after = as_then(RunFolder(student.run))
    assert all(one.same for one in after.values())
    assert all(one.store.path.is_relative_to(tmp_path / "there") for one in after.values())
    code, _, err = run_cli("evaluate", student.run)
    assert code == 0, err
