"""How the views of a run are made again, and which stores it has."""

import json
import os
import shutil

import numpy as np

from distillkit.store.reading.selection import select
from distillkit.stores import view as make_view
from tests.report.conftest import written


def test_the_commands_have_all_that_the_views_were_made_of_each_once_and_in_order(out):
    """Held out, the rest of it, of that rest a part to validate on: none of these three is a store of the run."""
    make_view(out / "images", out / "away", share=0.3)
    make_view(out / "images", out / "rest", other_than=out / "away")
    make_view(out / "rest", out / "validation", share=0.3)
    make_view(out / "rest", out / "train", other_than=out / "validation", overwrite=True)
    make_view(out / "rest", out / "held", other_than=out / "train", overwrite=True)
    os.utime(out / "held/view.json", (0, 0))  # whatever the dates say
    names = ("away", "rest", "validation", "train", "held")
    for text in written(out):
        told = [line for line in text.splitlines() if "distillkit store view" in line]
        assert [next(n for n in names if f" {out}/{n} --" in line) for line in told] == list(names)
        assert text.index("extract-teacher") < text.index("distillkit store view")
    # What is recorded of how a view was made stays true when there is another in its place, or none.
    shutil.rmtree(out / "validation")
    make_view(out / "images", out / "rest", rows="0:9", overwrite=True)
    for text in written(out):
        assert f"{out}/rest --other-than" in text and "--rows 0:9" not in text
        assert f"# {out}/validation was made here  (it is gone, and how it was made was not recorded)" in text


def test_a_store_of_another_extraction_that_a_view_needs_is_made_before_it(out):
    """Its rows, or how many they are, decide which the view has."""
    shutil.copytree(out / "images", out / "other")
    with (out / "other/extract.jsonl").open() as file:
        lines = [json.loads(line) | {"command": "distillkit extract-teacher other.toml"} for line in file]
    (out / "other/extract.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    select(out / "other", np.arange(40), out / "part", f"distillkit store view other {out}/part --rows 0:40")
    make_view(out / "images", out / "train", as_many_as=out / "part", overwrite=True)
    for text in written(out):
        places = [text.index(line) for line in ("extract-teacher other.toml", "--rows 0:40", "--as-many-as")]
        assert places == sorted(places)


def test_the_store_that_a_student_was_validated_on_is_one_of_its_stores(out):
    make_view(out / "images", out / "validation", rows="3:9")
    recipe = json.loads((out / "run/recipe.json").read_text())
    asked = {"kind": "retrieval", "store": str(out / "validation")}
    recipe["recipe"]["validation"] = {"eval": asked, "best": "image_to_text.R@1"}
    (out / "run/recipe.json").write_text(json.dumps(recipe))
    for text in written(out):
        stores = text[text.rindex("Stores") :]
        assert f"{out}/validation" in stores and "a view of 6 of the 70 rows" in stores
        assert f"{out}/validation --rows 3:9" in text
