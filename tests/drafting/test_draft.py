"""recipe new: for each goal, from real stores, a recipe that checks, trains, and is within its budget."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest

from distillkit.check import check
from distillkit.drafting import size
from distillkit.drafting.draft import draft
from distillkit.drafting.material import Material
from distillkit.errors import RecipeError
from distillkit.extract import extract
from distillkit.pixels.resizing import usual_size
from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.report.words import parameters
from distillkit.runfolder import RunFolder
from distillkit.students._count import count
from tests.conftest import draw
from tests.teachers.test_timm import make_dino

EXTRACT = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["image", "text", "cls", "patches"]
[[corpora]]
name = "texts"
source = {{ kind = "textlines", file = "{corpus}/texts.txt" }}
fields = ["text"]
[[corpora]]
name = "labelled"
source = {{ kind = "folder", root = "{corpus}/classes", classes = true }}
fields = ["image"]
[[corpora]]
name = "prompts"
source = {{ kind = "class_prompts", file = "{corpus}/names.txt", templates = ["a photo of {{}}"] }}
fields = ["text"]
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory, teacher_folder):
    folder = tmp_path_factory.mktemp("drafts")
    corpus = draw(folder / "corpus", 40)
    for number, image in enumerate(sorted((corpus / "images").iterdir())):
        (corpus / f"classes/{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(image, corpus / f"classes/{number % 2}")
    (corpus / "names.txt").write_text("square\ncircle\n")
    recipe = folder / "extract.toml"
    recipe.write_text(EXTRACT.format(out=folder / "stores", corpus=corpus, teacher=teacher_folder))
    extract(load(recipe, kind=ExtractRecipe), lambda line: None)
    return folder / "stores"


GOALS = {
    "image-tower": {"images": "images", "texts": "texts"},
    "clip-pair": {"images": "images"},
    "dino": {"images": "images"},
    "classes": {"images": "labelled", "classes": "prompts"},
}


def made(stores, goal, tmp_path, **more):
    material = Material(**{name: str(stores / store) for name, store in GOALS[goal].items()})
    budget = {"parameters": "10M" if goal == "clip-pair" else "1M"} | more
    (tmp_path / "mine.toml").write_text(draft(goal, material, "mine", "mine.toml", **budget))
    return load(tmp_path / "mine.toml", kind=TrainRecipe)


@pytest.mark.parametrize("goal", GOALS)
def test_a_draft_checks_trains_and_is_measured(goal, stores, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    recipe = made(stores, goal, tmp_path)
    text = (tmp_path / "mine.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("# pixel_cache", "pixel_cache"))  # as offered
    assert ("# pixel_cache" in text) == ("image_size" in recipe.student.knobs)
    assert recipe.baseline and recipe.evals and check(recipe)
    assert recipe.data.batch_size == 8  # four batches of the corpus, at least
    code, _, err = run_cli("train-student", "mine.toml", "--set", "optim.epochs=1")
    assert code == 0, err
    code, out, err = run_cli("evaluate", "runs/mine")
    assert code == 0 and out.strip().endswith("report.html"), err
    assert len(json.loads((tmp_path / "runs/mine/evaluation.json").read_text())["evals"]) == len(recipe.evals)
    towers, report = RunFolder(Path("runs/mine")).facts()["towers"], (tmp_path / "runs/mine/report.md").read_text()
    assert ("text" in towers) == (goal == "clip-pair")
    assert re.search(rf"^\| student .* {parameters(towers['image'])} \|$", report, re.MULTILINE)
    assert ("itself (its text tower: " in report) == (goal == "clip-pair")
    assert ("images with their captions; what" in report) == ("| captions (" in report) == (goal == "clip-pair")


@pytest.mark.parametrize("text", ["1e400", "inf", "nan", "-5", "0", "", "x" * 999])
def test_sizes_that_people_type_are_finite_numbers_above_nothing(text):
    for unit in ("", "k", "M"):
        with pytest.raises(RecipeError, match=r"no number of parameters; write one such as 5M or 300k") as refused:
            size.parameters_of(text + unit)
        assert len(str(refused.value)) < 200
    for unit in ("ms", "s"):
        with pytest.raises(RecipeError, match=r"no time; write one such as 4ms"):
            size.milliseconds_of(text + unit)
    assert (size.parameters_of("5M"), size.parameters_of("300k"), size.milliseconds_of("0.004s")) == (5e6, 3e5, 4.0)


def test_the_student_is_the_largest_within_the_parameters(stores, tmp_path):
    small, large = (made(stores, "image-tower", tmp_path, parameters=most) for most in ("1M", "6M"))
    sizes = [count(recipe.student.build("students")).parameters for recipe in (small, large)]
    assert sizes[0] <= 1e6 < sizes[1] <= 6e6
    with pytest.raises(RecipeError, match=r"the smallest student here has 0.6\d M parameters; allow more"):
        made(stores, "image-tower", tmp_path, parameters="1k")
    with pytest.raises(
        RecipeError, match=r"has 8\.\d\d M parameters, 6\.32 M of them the embedding of 49,408 tokens; "
    ):
        made(stores, "clip-pair", tmp_path, parameters="3M")


def test_unpaired_texts_are_told_to_be_left_out_where_the_goal_learns_from_captions(stores):
    material = Material(images=str(stores / "images"), texts=str(stores / "texts"))
    text = draft("clip-pair", material, "mine", "mine.toml", parameters="10M")
    told = f"# {stores}/texts is left out: this goal learns from captions, and a run reads one kind of text"
    assert told in text.splitlines() and "\ntexts = " not in text


def test_the_student_is_the_largest_within_the_latency(monkeypatch):
    ladder = [{"kind": "timm_image", "model": name, "image_size": 32} for name in ("resnet18", "resnet34", "resnet50")]
    took = {"resnet18": 2.0, "resnet34": 3.0, "resnet50": 9.0}
    monkeypatch.setattr(size, "_milliseconds", lambda knobs: took[knobs["model"]])
    chosen = size.within_latency(ladder, size.milliseconds_of("4ms"))
    assert chosen.knobs["model"] == "resnet34" and "3 ms an image" in chosen.why
    with pytest.raises(RecipeError, match="takes 2 ms an image"):
        size.within_latency(ladder, 1.0)


def test_a_draft_keeps_to_a_latency(stores, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(size, "_milliseconds", lambda knobs: asked.append(knobs["model"]) or float(len(asked)))
    recipe = made(stores, "image-tower", tmp_path, parameters=None, latency="2ms")
    assert recipe.student.knobs["model"] in asked
    assert re.search(r"[12] ms an image", (tmp_path / "mine.toml").read_text())


def test_latency_is_really_measured():
    assert size.within_latency([{"kind": "timm_image", "model": "mobilenetv3_small_050", "image_size": 32}], 1e4)


def test_a_batch_fits_corpus_and_memory(monkeypatch):
    monkeypatch.setattr(size, "available_memory", lambda: 10**9)
    assert size.fitting_batch(10**6, 1000) == 256
    assert size.fitting_batch(100, 1000) == 16  # 25 images are a quarter
    assert size.fitting_batch(10**6, 10**7) == 32  # 50 images are half of the memory
    assert size.fitting_batch(3, 1000) == 2


def test_the_cache_that_is_offered_is_the_one_that_the_plan_knows(stores, tmp_path):
    made(stores, "image-tower", tmp_path, image_size=64)
    assert usual_size(64) == 73 and "# pixel_cache = 73  #" in (tmp_path / "mine.toml").read_text()


def test_the_scale_is_the_teachers_own(stores, tmp_path):
    recipe = made(stores, "image-tower", tmp_path)
    assert {term.knobs["logit_scale"] for term in recipe.losses} == {"teacher"}


def test_without_texts_images_are_compared(stores, tmp_path):
    material = Material(str(stores / "labelled"))
    (tmp_path / "mine.toml").write_text(draft("image-tower", material, "mine", "mine.toml", parameters="1M"))
    recipe = load(tmp_path / "mine.toml", kind=TrainRecipe)
    assert [term.kind for term in recipe.losses] == ["affinity", "feature_regression"] and recipe.data.texts is None


def test_a_paper_is_named_only_where_the_draft_is_its_method(stores, tmp_path):
    """Reports print `paper` as what was done."""

    def drafted(goal, **material):
        text = draft(goal, Material(**{name: str(stores / store) for name, store in material.items()}), "m", "m.toml")
        (tmp_path / "m.toml").write_text(text)
        return load(tmp_path / "m.toml", kind=TrainRecipe).paper, text

    assert drafted("image-tower", images="images", texts="texts")[0] == "https://arxiv.org/abs/2303.18232"
    assert drafted("clip-pair", images="images")[0] == "https://arxiv.org/abs/2307.12732"
    others = {
        "there are no texts": ("image-tower", {"images": "labelled"}),
        "the images' own captions": ("image-tower", {"images": "images"}),
        "nothing but the class token of a CLIP": ("dino", {"images": "images"}),  # which has patches, too
        "L_cst, and what it does": ("classes", {"images": "labelled", "classes": "prompts"}),
    }
    for why, (goal, material) in others.items():
        paper, text = drafted(goal, **material)
        assert paper is None and why in text and "So reports name no paper." in text


def test_a_teacher_that_was_added_is_learned_from_where_it_alone_said_what_is_needed(
    stores, tmp_path, corpus, teacher_folder, run_cli, monkeypatch
):
    make_dino(tmp_path / "dino", pixels=56)
    clip = f'[[teachers]]\nname = "clip"\nkind = "openclip"\nmodel = "local-dir:{teacher_folder}"\n'
    later = f'[[teachers]]\nname = "dino"\nkind = "timm"\nmodel = "local-dir:{tmp_path}/dino"\nimage_size = 28\n'
    corpora = f'[[corpora]]\nname = "images"\nsource = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}\n'
    for teachers, fields in ((clip, '["image"]'), (clip + later, '["clip/image", "dino/cls"]')):
        (tmp_path / "extract.toml").write_text(
            f'name = "toy"\nout = "{tmp_path}/out"\n{teachers}{corpora}fields = {fields}\nmax_failures = 0.2\n'
        )
        assert run_cli("extract-teacher", tmp_path / "extract.toml")[0] == 0
    text = draft("dino", Material(str(tmp_path / "out/images")), "mine", "mine.toml", parameters="1M")
    (tmp_path / "mine.toml").write_text(text)
    recipe = load(tmp_path / "mine.toml", kind=TrainRecipe)
    assert recipe.data.teacher == "dino" and check(recipe)
    monkeypatch.chdir(tmp_path)
    code, _, err = run_cli("train-student", "mine.toml", "--set", "optim.epochs=1")
    assert code == 0, err
    code, _, err = run_cli("evaluate", "runs/mine")
    report = (tmp_path / "runs/mine/report.md").read_text()
    assert code == 0 and "linear CKA" in report and "out/images/added/dino" in report, err
    assert (
        "has changed since" not in report
        and "What the teacher cost" in report
        and re.search(r"\| views of images \(.*out/images/added/dino\) \| 70 \|", report)
    )
    assert "without the teacher's image features" not in report and "text tower" not in report
    with pytest.raises(
        RecipeError, match=r"has features of openclip, but dino is learned from, .*; extract this store with dino"
    ):
        draft("dino", Material(str(tmp_path / "out/images"), measured=str(stores / "labelled")), "mine", "mine.toml")
    text = draft("image-tower", Material(str(tmp_path / "out/images")), "mine", "mine.toml", parameters="1M")
    assert "teacher =" not in text.partition("[student]")[0]  # the first one said that


def test_captions_are_asked_of_the_images_that_are_measured(stores, tmp_path):
    material = Material(str(stores / "labelled"), str(stores / "texts"), measured=str(stores / "images"))
    (tmp_path / "mine.toml").write_text(draft("image-tower", material, "mine", "mine.toml", parameters="1M"))
    recipe = load(tmp_path / "mine.toml", kind=TrainRecipe)
    found = {one.kind: one.knobs["store"] for one in recipe.evals}
    assert found["retrieval"] == str(stores / "images") and check(recipe)
    material = Material(str(stores / "images"), str(stores / "texts"), measured=str(stores / "labelled"))
    assert "retrieval" not in draft("image-tower", material, "mine", "mine.toml", parameters="1M")


@pytest.mark.parametrize(
    ("goal", "images", "told"),
    [
        ("clip-pair", "labelled", "holds no 'text', only image; choose another goal, or ask the teacher"),
        ("dino", "labelled", "holds no 'cls'"),
        ("classes", "images", "name the store of their prompts"),
        ("teapot", "images", "'teapot' is none of the goals; there are: image-tower, clip-pair, dino, classes"),
    ],
)
def test_what_the_stores_lack_is_told(goal, images, told, stores):
    with pytest.raises(RecipeError, match=told):
        draft(goal, Material(str(stores / images)), "mine", "mine.toml")


def test_patches_decide_how_large_a_student_sees(stores):
    with pytest.raises(
        RecipeError, match=r"patch.* a view needs? a student of .* pixels a side, not 512; leave --image"
    ):
        draft("dino", Material(str(stores / "images")), "mine", "mine.toml", parameters="1M", image_size=512)


def test_the_command_writes_once_and_asks_only_at_a_terminal(stores, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    words = ("recipe", "new", "mine.toml", "--images", stores / "images", "--parameters", "1M")
    assert run_cli(*words)[0] == 2  # no terminal, no goal
    code, out, err = run_cli(*words, "--goal", "image-tower")
    assert code == 0 and out == "mine.toml\n" and "student" in err and "next: distillkit train-student mine.toml" in err
    code, _, err = run_cli(*words, "--goal", "image-tower")
    assert code == 1 and "mine.toml: is there already" in err
    twice = ("--texts", f"{stores / 'images'}/", "--goal", "image-tower")
    code, _, err = run_cli("recipe", "new", "other.toml", *words[3:], *twice)
    assert code == 1 and "is the store of the images, too; its captions are learned from without --texts" in err


def test_somebody_at_a_terminal_is_asked(stores, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    answers = io.StringIO(f"{stores / 'images'}\n{stores / 'texts'}\nimage tower\n\n1M\n")
    answers.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", answers)
    code, out, err = run_cli("recipe", "new", "mine.toml")
    assert code == 0 and out.strip() == "mine.toml", err
    assert "The store of images:" in err and "a small CLIP pair, image and text tower" in err
    assert err.count("What do you want") == 2 and "'image tower' is none of these" in err
    recipe = load("mine.toml", kind=TrainRecipe)
    assert recipe.data.texts == str(stores / "texts") and recipe.student.knobs["model"] == "mobilenetv3_small_050"


def test_a_recipe_that_is_there_is_told_before_the_first_question(tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").touch()
    nobody = io.StringIO("")
    nobody.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", nobody)
    code, _, err = run_cli("recipe", "new", "mine.toml")
    assert code == 1 and err == "error: mine.toml: is there already; move it away, or name another file\n"


def test_images_to_measure_on_that_are_trained_on_are_told(stores, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    for name, rows in (("fit", "0:30"), ("twin", "0:30"), ("near", "25:35"), ("apart", "30:40")):
        assert run_cli("store", "view", stores / "images", name, "--rows", rows)[0] == 0
    words = ("--images", "fit", "--parameters", "1M", "--goal", "image-tower", "--measure")
    for measured in ("fit", "./fit/", "twin"):
        code, _, err = run_cli("recipe", "new", "mine.toml", *words, measured)
        assert (
            code == 1
            and f"{measured}: --measure must name images that are not trained on" in err
            and err.count("\n") == 1
        )
    for name, told in (
        ("near", "near: 5 of 10 images have keys that fit trains on, too, such as 'images/025.png', "),
        ("apart", ""),
    ):
        code, _, err = run_cli("recipe", "new", f"{name}.toml", *words, name)
        assert code == 0 and (told in err if told else "trains on" not in err), err
