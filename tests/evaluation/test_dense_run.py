"""Dense probes of a real student and its teacher: tokens live and stored, rows kept, and who has no patches."""

import shutil

import numpy as np
import pytest
from PIL import Image

from distillkit import evaluate, extract, train
from distillkit.errors import DistillkitError
from distillkit.evaluation.rows import read_rows
from distillkit.store.reading.selection import select
from tests.conftest import EXTRACT, TRAIN, draw
from tests.evaluation.worlds import quiet, results

DENSE = """
[[evals]]
kind = "linear_segmentation"
train = "{out}/known"
store = "{out}/asked"
masks = "{corpus}/masks"
classes = 2
side = 16
steps = 20
[[evals]]
kind = "linear_depth"
train = "{out}/known"
store = "{out}/asked"
masks = "{corpus}/masks"
unit = 1.0
side = 16
steps = 5
"""
VIT = """
kind = "timm_image"
model = "vit_tiny_patch16_224"
image_size = 32
embed_dim = 32
options = { embed_dim = 24, depth = 1, num_heads = 2 }
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory, teacher_folder):
    """A teacher's tokens of 24 images with masks, a ViT that was trained for one epoch, and a file of evals."""
    folder = tmp_path_factory.mktemp("dense")
    corpus = draw(folder / "corpus", 24)
    (corpus / "masks/images").mkdir(parents=True)
    for number in range(24):
        half = np.zeros((40, 40), np.uint8)
        half[:, : 10 + number] = 1
        Image.fromarray(half).save(corpus / f"masks/images/{number:03d}.png")
    places = {"out": folder / "out", "corpus": corpus, "teacher": teacher_folder}
    fields = '["image", "text"]', '["image", "text", "cls", "patches"]'
    (folder / "extract.toml").write_text(EXTRACT.format(**places).replace(*fields))
    extract(folder / "extract.toml", quiet)
    select(folder / "out/images", np.arange(12), folder / "out/known")
    select(folder / "out/images", np.arange(12, 24), folder / "out/asked")
    recipe = TRAIN.format(**places)
    start, stop = recipe.index("[student]"), recipe.index("[[losses]]")
    recipe = f"{recipe[:start]}[student]{VIT}{recipe[stop:]}".replace("epochs = 6", "epochs = 1")
    (folder / "train.toml").write_text(recipe.partition("[baseline]")[0])
    (folder / "dense.toml").write_text(DENSE.format(**places))
    train(folder / "train.toml", quiet)
    return folder


def test_student_and_teacher_are_probed_and_a_row_is_kept_for_each_image(world):
    run = world / "out/run"
    evaluate(run, quiet, evals=world / "dense.toml")
    found = results(run)["results"]
    for who in ("teacher", "student"):
        assert 0 <= found["linear_segmentation"][who]["mIoU.low"] <= found["linear_segmentation"][who]["mIoU"] <= 1
        assert found["linear_depth"][who]["RMSE"] > 0 and found["linear_depth"][who]["images"] == 12
    rows = read_rows(run / "evaluation/linear_segmentation.arrow").answers["student"]
    assert len(rows.key) == 12 and rows.columns["intersection"].shape == (12, 2)
    before = {path: path.stat().st_mtime_ns for path in (run / "evaluation").rglob("*")}
    evaluate(run, quiet, evals=world / "dense.toml")
    assert before == {path: path.stat().st_mtime_ns for path in (run / "evaluation").rglob("*")}


@pytest.mark.parametrize(
    ("store", "student", "told"),
    [
        ("texts", {}, "there is no such picture"),
        ("plain", {}, "holds no 'patches', only image, text; extract it with 'patches' in fields"),
        (
            "asked",
            {"model": "mobilenetv3_small_050", "options": "{}"},
            "is no vision transformer, so it has no patches",
        ),
    ],
)
def test_who_or_what_has_no_patches_is_one_line(world, store, student, told):
    """A store without them, a network without them, a store without masks."""
    run = world / "out/run"
    if store == "plain":
        plain = (world / "extract.toml").read_text().replace(', "cls", "patches"', "").replace("/out", "/plain")
        (world / "plain.toml").write_text(plain)
        extract(world / "plain.toml", quiet)
        select(world / "plain/images", np.arange(12, 24), world / "plain/asked")
    if student:
        run = world / "out/conv"
        knobs = [f'student.model="{student["model"]}"', "student.options={}", f'out="{run}"']
        train(world / "train.toml", quiet, overrides=knobs)
    place = world / ("plain/asked" if store == "plain" else f"out/{store}")
    with pytest.raises(DistillkitError, match=told) as error:
        evaluate(run, quiet, evals=world / "dense.toml", overrides=[f'evals.0.store="{place}"'])
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("every_step")
def test_long_evals_of_patches_tell_how_far_they_are(world):
    said, run = [], world / "out/run"
    segmented, depth = (world / "dense.toml").read_text().split("[[evals]]")[1:]
    neighbours = segmented.replace("linear_segmentation", "patch_knn").replace("steps = 20", "voters = 8")
    neighbours += f'train_masks = "{world}/corpus/masks"\n'
    few = [f"{one}batch = 8\n" for one in (segmented, depth)]
    evals = [f'{one}name = "again {at}"\n' for at, one in enumerate((*few, neighbours))]
    (world / "again.toml").write_text("".join(f"[[evals]]{one}" for one in evals))
    evaluate(run, said.append, evals=world / "again.toml")
    masks, told = world / "corpus/masks", "\n".join(said)
    assert f"{world}/out/known: steps of learning on patches 1/20  " in told
    assert f"{masks}: images and their masks 8/12  " in told
    assert f"{masks}: images and their depths 8/12  " in told


def test_masks_that_were_replaced_are_asked_about_anew_once(world):
    run, folder = world / "out/run", world / "corpus/masks/images"
    of_depth = (world / "dense.toml").read_text().split("[[evals]]")[2]
    own = world / "replaced"
    shutil.copytree(folder, own / "images")
    (world / "replaced.toml").write_text(
        f'[[evals]]{of_depth}name = "replaced"\n'.replace(f"{world}/corpus/masks", str(own))
    )

    def told():
        said = []
        evaluate(run, said.append, evals=world / "replaced.toml")
        return "\n".join(said)

    told()
    before = results(run)["results"]["replaced"]
    assert "already evaluated, nothing to do" in told()
    shutil.copy(own / "images/000.png", own / "images/of nobody.png")
    assert "already evaluated, nothing to do" in told()
    for path in (own / "images").iterdir():
        path.write_bytes((folder / "012.png").read_bytes())
    assert "replaced: measured anew, as its files (train_masks, masks) have changed since" in told()
    assert results(run)["results"]["replaced"] != before
    assert results(run)["evals"]["replaced"]["files"].keys() == {"train_masks", "masks"}
    assert "already evaluated, nothing to do" in told()
