"""How the views of a run are made again, and which stores it has."""

import json
import os
import shutil

import numpy as np

from distillkit.mine import mine_here
from distillkit.mining.select import select_texts
from distillkit.recipe import MineRecipe, SelectRecipe
from distillkit.store.reading.selection import select
from distillkit.stores import view as make_view
from tests.records import without_checksum
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
    (out / "run/recipe.json").write_text(without_checksum(recipe))
    for text in written(out):
        stores = text[text.rindex("Stores") :]
        assert f"{out}/validation" in stores and "a view of 6 of the 70 rows" in stores
        assert f"{out}/validation --rows 3:9" in text


MINE, SELECT = "distillkit mine-neighbours mine.toml --page near.html", "distillkit select-texts select.toml"


def mined(out):
    """Neighbours of a view, and a view of the texts that were chosen by them, as commands make them."""
    make_view(out / "images", out / "fit", rows="0:40")
    asked = MineRecipe(queries=f"{out}/fit", corpus=f"{out}/texts", k=8)
    mine_here(asked, 1, lambda message: None, MINE)
    chosen = {"images": f"{out}/fit", "texts": f"{out}/texts", "out": f"{out}/grounded", "min_cosine": -0.9}
    select_texts(SelectRecipe(**chosen), command=SELECT)


def trained_on(out, **data):
    """As if the student had been trained with these values of [data]."""
    for file, change in (
        ("recipe.json", lambda content: content["recipe"]["data"].update(data)),
        ("student.json", lambda content: content["stores"].update({"texts": data.get("texts", f"{out}/texts")})),
    ):
        content = json.loads((out / "run" / file).read_text())
        change(content)
        (out / "run" / file).write_text(without_checksum(content))


def without(path, *keys):
    """A log as it was before its lines had these keys."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps({k: v for k, v in one.items() if k not in keys})}\n" for one in lines))


def in_turn(text, *told):
    places = [text.index(one) for one in told]
    assert places == sorted(places), text[text.rindex("Make it again") :]


def test_neighbours_are_mined_before_the_texts_are_chosen_by_them(out):
    mined(out)
    log = out / "images/added/neighbours/mine.jsonl"
    trained_on(out, texts=f"{out}/grounded")
    os.utime(out / "grounded/view.json", (0, 0))  # whatever the dates say
    for text in written(out):
        in_turn(text, "extract-teacher", f"{out}/fit --rows 0:40", MINE, SELECT, "train-student")
        assert text.count(MINE) == 1 and "must be run before" not in text
    # Older logs tell less, and what select-texts wrote beside the view tells the rest.
    without(out / "grounded/extract.jsonl", "of")
    without(log, "of")
    for text in written(out):
        in_turn(text, f"{out}/fit --rows 0:40", MINE, SELECT, "train-student")
    without(log, "command")
    for text in written(out):
        told = "# distillkit mine-neighbours RECIPE  (must be run before what follows; its command was not recorded; "
        in_turn(text, f"{told}it made {out}/images/added/neighbours)", SELECT)
    (out / "grounded/selection.json").unlink()
    for text in written(out):
        in_turn(text, f"{told}it mined what {out}/grounded was chosen by)", SELECT)


def test_neighbours_that_others_have_replaced_are_not_told_as_those(out):
    mined(out)
    trained_on(out, texts=f"{out}/grounded")
    shutil.rmtree(out / "images/added/neighbours")
    asked = MineRecipe(queries=f"{out}/fit", corpus=f"{out}/texts", k=5)
    mine_here(asked, 1, lambda message: None, "distillkit mine-neighbours other.toml")
    for text in written(out):
        assert "other.toml" not in text and MINE not in text
        in_turn(text, f"not recorded; it made {out}/images/added/neighbours)", SELECT)


def test_neighbours_that_training_drew_texts_by_are_mined_before_it_and_the_batch_says_so(out):
    mined(out)
    for text in written(out):
        assert MINE not in text and "mined" not in text and "16 images, 16 texts" in text
    for sampling, told in (
        ("proximal", "16 images, 16 texts drawn from those mined as near to its images (sampling = "),
        ("neighbours", "16 images, all texts mined as near to its images (sampling = "),
    ):
        trained_on(out, sampling=sampling)
        for text in written(out):
            in_turn(text, f"{out}/fit --rows 0:40", MINE, "train-student", told)
            assert SELECT not in text
    shutil.rmtree(out / "images/added/neighbours")
    for text in written(out):
        in_turn(text, f"not recorded; it made {out}/images/added/neighbours)", "train-student")


def test_texts_that_were_read_as_neighbours_are_counted_and_not_as_a_batch_of_texts(out):
    """Of 16 images with a neighbour each a step reads 16 texts at most, whatever text_batch_size would be."""
    mined(out)
    steps = json.loads((out / "run/student.json").read_text())["steps"]

    def texts():
        plain, _ = written(out)
        return next((line.split("|")[6].strip() for line in plain.splitlines() if line.startswith("| texts ")), None)

    trained_on(out, text_batch_size=32)
    assert texts() == f"{steps * 32:,}"
    trained_on(out, sampling="neighbours", neighbours_k=1)
    few = texts()
    assert few.startswith("about ") and steps <= int(few.removeprefix("about ").replace(",", "")) <= steps * 16
    trained_on(out, neighbours_k=8)
    assert int(texts().removeprefix("about ").replace(",", "")) > int(few.removeprefix("about ").replace(",", ""))
    shutil.rmtree(out / "images/added/neighbours")
    assert texts() is None, "nobody knows how many they were"


def test_a_view_that_was_made_anew_after_training_is_told_as_it_was_then(out):
    make_view(out / "images", out / "train", rows="0:40", overwrite=True)  # the same rows: the same view
    make_view(out / "images", out / "train", rows="0:50", overwrite=True)
    for text in written(out):
        in_turn(text, f"# {out}/train was made anew after this training; what follows made its rows of then", "0:40")
        assert "--rows 0:50" not in text
    (out / "train/extract.jsonl").unlink()
    make_view(out / "images", out / "train", rows="0:55", overwrite=True)
    for text in written(out):
        told = f"# {out}/train was made anew after this training, and how before was not recorded"
        in_turn(text, told, "--rows 0:55", "train-student")


def test_a_view_that_another_was_made_of_and_that_is_gone_is_not_told_by_the_rows_of_today(out):
    """What made it was not recorded, and what lies there by now is another one."""
    select(out / "images", np.arange(60), out / "part")
    make_view(out / "part", out / "train", rows="0:40", overwrite=True)
    select(out / "images", np.arange(20), out / "part")
    for text in written(out):
        assert f"# {out}/part was made here  (another view lies there by now" in text
        assert f"its rows are in {out}/part/rows.npy" not in text


def test_a_store_that_has_grown_since_is_told_as_another_one(out):
    record = json.loads((out / "run/recipe.json").read_text())
    for text in written(out):
        assert f"# {out}/texts: another one than at training" not in text
    record["identity"]["stores"]["texts"] = "0" * 64
    (out / "run/recipe.json").write_text(without_checksum(record))
    for text in written(out):
        in_turn(text, f"# {out}/texts: another one than at training: 160 rows then, 160 now", "train-student")


def test_what_another_file_than_the_recipe_asked_for_is_no_part_of_the_last_command(out):
    for text in written(out):
        assert "--eval" not in text
    evaluation = json.loads((out / "run/evaluation.json").read_text())
    first = next(iter(evaluation["evals"].values()))
    evaluation["evals"]["later"] = first  # of the same store, whatever it is called
    (out / "run/evaluation.json").write_text(without_checksum(evaluation))
    for text in written(out):
        told = "--eval FILE  (FILE asked for 1 more eval; which it was was not recorded)"
        assert f"# distillkit evaluate {out}/run {told}" in text
