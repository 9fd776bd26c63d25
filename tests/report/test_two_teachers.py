"""A student of two teachers: the second is told wherever the first is, in a store of its own or beside it in one."""

import json
import re
from pathlib import Path

import pytest

from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.report import write_report
from distillkit.report.demo import teacher_name
from distillkit.report.taught import Taught
from distillkit.runfolder import RunFolder
from tests.conftest import EXTRACT, TRAIN, draw, make_teacher
from tests.records import without_checksum

TERM = """[[losses]]
kind = "feature_regression"
teacher = "second"
name = "second"
[optim]"""


@pytest.fixture(scope="module")
def world(tmp_path_factory, teacher_folder):
    """Stores of 70 images by a teacher, and of 60 of them by another one."""
    from distillkit.extract import extract

    root = tmp_path_factory.mktemp("two")
    places = {"corpus": draw(root / "corpus", 70), "out": root / "out", "teacher": teacher_folder}
    (root / "extract.toml").write_text(EXTRACT.format(**places))
    extract(load(root / "extract.toml", kind=ExtractRecipe), say=lambda message: None)
    table = root / "corpus/pairs.tsv"
    table.write_text("\n".join(table.read_text().splitlines()[:61]) + "\n")
    places |= {"out": root / "other", "teacher": make_teacher(root / "mine/teacher", seed=1)}
    (root / "other.toml").write_text(EXTRACT.format(**places).partition('[[corpora]]\nname = "texts"')[0])
    extract(load(root / "other.toml", kind=ExtractRecipe), say=lambda message: None)
    return root


def recipe_of(world, out):
    text = TRAIN.format(out=world / "out").partition("[baseline]")
    evals = text[2].partition("[[evals]]")[2]
    text = f"{text[0]}[[evals]]{evals}".replace(f"{world}/out/run", str(out)).replace("epochs = 6", "epochs = 2")
    text = text.replace("[student]", f'also = {{ second = {{ images = "{world}/other/images" }} }}\n[student]')
    (out.parent / "train.toml").write_text(text.replace("[optim]", TERM))
    return out.parent / "train.toml"


def test_the_report_tells_of_both_teachers(world, tmp_path):
    from distillkit.evaluate import evaluate
    from distillkit.export import export
    from distillkit.train import train

    folder = train(load(recipe_of(world, tmp_path / "run"), kind=TrainRecipe), say=lambda message: None)
    page = evaluate(folder, say=lambda message: None)
    for text in (page.read_text(), page.with_suffix(".md").read_text().replace("\\", "")):
        text = " ".join(text.replace("<em>", "").replace("</em>", "").split())
        assert (
            "learned from the frozen teacher toy, which was asked once about 70 images and 160 unpaired texts, and "
            "from the frozen network mine/teacher, which was asked once about 60 images; what they said of them was "
            "kept, and training never ran them again."
        ) in text
        assert "Teacher here means toy: the evals compare with what it said." in text
        assert (
            "iews of images for second" in text
            and "Their 3 passes over the training corpora took" in text
            and " together, once" in text
        )
        assert text.count(f"{world}/other/images") >= 2
    bullets = [line for line in page.with_suffix(".md").read_text().splitlines() if line.startswith("* Teacher: ")]
    assert len(bullets) == 2 == page.read_text().count("<dt>Teacher</dt>") and "sha256" in bullets[1]
    assert f"{world}/mine/teacher" in bullets[1].replace("\\", "")
    export(folder, "torch", samples=draw(tmp_path / "more", 256), say=lambda line: None)
    card = (folder / "exports/torch/README.md").read_text()
    assert re.search(r"\| teacher \| local-dir:.*, weights sha256 [0-9a-f]{64} \|", card)
    assert re.search(r"\| further teacher, second \| local-dir:teacher, weights sha256 [0-9a-f]{64} \|", card)
    costs = [line for line in page.with_suffix(".md").read_text().splitlines() if "views of images for second" in line]
    assert len(costs) == 1 and f"{world}/other/images" in costs[0].replace("\\", "") and "| 60 |" in costs[0]


@pytest.mark.parametrize("later", [True, False])
def test_a_teacher_that_was_added_or_stood_beside_the_first_is_told_too(world, tmp_path, teacher_folder, later):
    from distillkit.evaluate import evaluate
    from distillkit.extract import extract
    from distillkit.train import train

    def teacher(name, place):
        return f'[[teachers]]\nname = "{name}"\nkind = "openclip"\nmodel = "local-dir:{place}"\n'

    def extracted(fields, teachers, command="distillkit extract-teacher two.toml"):
        (tmp_path / "extract.toml").write_text(
            f'name = "toy"\nout = "{tmp_path}"\n{teachers}[[corpora]]\nname = "images"\nfields = {fields}\n'
            f'source = {{ kind = "csv", file = "{world}/corpus/pairs.tsv" }}\nrows_per_shard = 64\nbatch_size = 16\n'
        )
        extract(load(tmp_path / "extract.toml", kind=ExtractRecipe), say=lambda message: None, command=command)

    first, second = teacher("first", teacher_folder), teacher("second", world / "mine/teacher")
    if later:
        extracted('["first/image"]', first, "distillkit extract-teacher one.toml")
    extracted('["first/image", "second/image"]', first + second)
    text = recipe_of(world, tmp_path / "run").read_text().partition("[[evals]]")[0]
    text = text.replace(f"{world}/out/images", f"{tmp_path}/images").replace(f'texts = "{world}/out/texts"\n', "")
    text = text.replace("also = ", 'teacher = "first"\nalso = ').replace(
        f'images = "{world}/other/images" }}', 'teacher = "second" }'
    )
    before, _, after = text.partition("[[losses]]")
    after = after.partition('[[losses]]\nkind = "feature_regression"')[2]
    text = f'{before}[[losses]]\nkind = "feature_regression"\n[[losses]]\nkind = "feature_regression"{after}'
    (tmp_path / "train.toml").write_text(text)
    page = evaluate(train(load(tmp_path / "train.toml", kind=TrainRecipe), say=lambda message: None))
    plain = page.with_suffix(".md").read_text().replace("\\", "")
    assert (
        "asked once about 60 images, and from the frozen network mine/teacher, which was asked once about 60" in plain
    )
    assert "| views of images (" in plain and "| views of images for second (" in plain
    assert f"| {tmp_path}/images{'/added/second' if later else ''} | 60 |" in plain and "second/image float16" in plain
    again = plain.partition("## Make it again")[2].partition("distillkit train-student")[0]
    typed = [line for line in again.splitlines() if "distillkit" in line]
    assert typed == [f"distillkit extract-teacher {name}.toml" for name in (["one"] if later else []) + ["two"]]
    begun = json.loads((tmp_path / "run/recipe.json").read_text())
    begun["identity"]["stores"] |= dict.fromkeys(begun["identity"]["stores"], "06388eef" * 8)
    (tmp_path / "run/recipe.json").write_text(without_checksum(begun))
    again = write_report(RunFolder(tmp_path / "run"), None).with_suffix(".md").read_text().replace("\\", "")
    assert again.count(f"{tmp_path}/images has changed since") == 1 == again.count("has changed since")


def test_the_check_counts_what_the_second_adds(world, tmp_path, run_cli):
    code, out, err = run_cli("recipe", "check", recipe_of(world, tmp_path / "run"))
    assert code == 0, err
    alone = json.loads(Path(world / "out/images/manifest.json").read_text())["fields"]["openclip/image"]["shape"][0]
    line = next(line for line in out.splitlines() if line.startswith("store "))
    assert "(64 of data.also.second)" in line and f"{2 * alone + 64:,} bytes a row in float16" in line


@pytest.mark.parametrize(("folder", "name"), [("/x/mine/teacher", "mine/teacher"), ("/models/toy", "toy")])
def test_no_word_stands_twice_before_the_name_of_a_folder(folder, name):
    assert teacher_name(f"local-dir:{folder}", None) == name
    assert Taught(name, "").noun == ("network" if "teacher" in name else "teacher")
