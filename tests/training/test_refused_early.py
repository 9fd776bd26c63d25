"""What would stop a run, or its evaluation, in hours is refused or told before its first step, and by recipe check."""

import json
import shutil
import sys

import pytest

import distillkit


def says_at_once(student, *settings):
    """The one line of a refusal that came before there was a run folder."""
    code, err = student(*settings)
    assert code == 1 and err.count("\n") == 1 and not student.run.exists(), err
    return err


def checked(student, run_cli, *settings):
    return run_cli("recipe", "check", student.recipe, *(word for one in settings for word in ("--set", one)))


def test_a_batch_that_the_corpus_has_not(student, run_cli):
    setting = "data.batch_size=500"
    told = says_at_once(student, setting)
    assert "500" in told
    code, _, err = checked(student, run_cli, setting)
    assert code == 1 and err == told


def test_widths_that_do_not_fit(student, run_cli):
    told = says_at_once(student, "student.embed_dim=48")
    assert "student.image, 48 wide, with teacher.text, 32 wide" in told
    code, _, err = checked(student, run_cli, "student.embed_dim=48")
    assert code == 1 and err == told


def test_texts_of_another_teacher(student, run_cli, tmp_path):
    others = shutil.copytree(student.stores / "texts", tmp_path / "others")
    manifest = json.loads((others / "manifest.json").read_text())
    manifest["teachers"]["openclip"]["weights_sha256"] = "0" * 64
    (others / "manifest.json").write_text(json.dumps(manifest))
    setting = f'data.texts="{others}"'
    told = says_at_once(student, setting)
    assert "made by different teachers (weights_sha256: '" in told
    code, _, err = checked(student, run_cli, setting)
    assert code == 1 and err == told


def test_a_further_teacher(student, run_cli):
    """Its widths are looked up as the first one's are; what the student lacks for it is named by its knob."""
    also = f'data.also={{ second = {{ images = "{student.stores}/images" }} }}'
    term = 'losses.1={ kind = "feature_regression", teacher = "second", name = "second" }'
    code, out, err = checked(student, run_cli, also, term)
    assert code == 0 and "second.image" in next(line for line in out.splitlines() if line.startswith("teacher ")), err
    code, _, err = checked(student, run_cli, also, term.replace("name =", 'field = "cls", name ='))
    assert code == 1 and "feature_regression needs student.cls" in err and "set student.tokens = true" in err
    code, _, err = checked(student, run_cli, also.replace("/images", "/nowhere"), term)
    assert code == 1 and "data.also.second: " in err and "Traceback" not in err


@pytest.mark.parametrize("sampling", ["proximal", "neighbours"])
def test_images_that_no_neighbours_were_mined_for(student, run_cli, tmp_path, sampling):
    store, texts = shutil.copytree(student.stores / "images", tmp_path / "images"), student.stores / "texts"
    for name, rows in (("mined", "0:20"), ("trained", "20:40")):
        assert run_cli("store", "view", store, tmp_path / name, "--rows", rows)[0] == 0
    near = tmp_path / "near.toml"
    near.write_text(f'queries = "{tmp_path}/mined"\ncorpus = "{texts}"\nk = 2\n')
    code, _, err = run_cli("mine-neighbours", near)
    assert code == 0, err
    settings = (f'data.images="{tmp_path}/trained"', f'data.sampling="{sampling}"')
    told = says_at_once(student, *settings)
    assert (
        "20 of 20 images have no 'neighbours'" in told
        and f"RECIPE --set 'queries=\"{tmp_path}/trained\"' (and another name" in told
    )
    assert checked(student, run_cli, *settings)[2] == told
    assert student(*settings, words=["--plan"]) == (1, told)


@pytest.mark.parametrize("images", [True, False])
def test_more_parts_than_there_are_images_of_a_batch(student, run_cli, images):
    parts = "optim.accumulate=17"
    told = "optim.accumulate = 17: a process has 16 images of a batch; lower it, or raise data.batch_size"
    if not images:
        tower = "text_cfg = {width = 32, heads = 2, layers = 1}, vision_cfg = {image_size = 32, width = 32, layers = 1}"
        text = f'student={{ kind = "openclip_text", model = {{ embed_dim = 32, {tower} }} }}'
        data = f'data={{ texts = "{student.stores}/texts", batch_size = 16, text_batch_size = 4 }}'
        term = 'losses=[{ kind = "feature_regression", field = "text" }]'
        told = "optim.accumulate = 17: a process has 4 texts of a batch; lower it, or raise data.text_batch_size"
        code, err = student(parts, text, data, term)
    else:
        code, err = student(parts)
    assert code == 1 and told in err
    settings = (parts, *((text, data, term) if not images else ()))
    assert student(*settings, words=["--plan"])[0] == 1 and told in checked(student, run_cli, *settings)[2]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ("optim.lr=1e-5",),
            "the learning rate rises to the end, from 1e-05 to optim.min_lr = 4e-05; lower optim.min_lr",
        ),
        (
            ("optim.lr=1e-6", 'optim.schedule="constant"', "optim.warmup_epochs=1.0"),
            "the warm-up falls, from optim.warmup_lr = 4e-06 to 1e-06; lower optim.warmup_lr",
        ),
    ],
)
def test_a_learning_rate_that_is_not_the_highest(student, run_cli, settings, told):
    assert told in checked(student, run_cli, *settings)[1] and told in student(*settings)[1]
    assert told not in checked(student, run_cli, *settings, "optim.lr=1e-3")[1]
    assert told not in checked(student, run_cli, *settings, 'optim.schedule="onecycle"')[1]


def test_a_learning_rate_that_only_rises(student, run_cli):
    settings = ("optim.epochs=1.0", "optim.warmup_epochs=1.5", "optim.lr=0.001")
    told = "the learning rate rises for 1.5 epochs of 1 and never gets to 0.001; lower optim.warmup_epochs"
    assert told in checked(student, run_cli, *settings)[1] and told in student(*settings)[1]
    assert told not in checked(student, run_cli, *settings, 'optim.schedule="onecycle"')[1]


def validation(store, best="R@5"):
    return f'validation={{ eval = {{ kind = "retrieval", store = "{store}" }}, best = "{best}" }}'


def test_a_baseline_that_cannot_be_built(student, run_cli):
    setting = 'baseline={ losses = [{ kind = "feature_regression", field = "cls" }] }'
    message = "losses.feature_regression needs"
    assert message in says_at_once(student, setting)
    code, _, err = checked(student, run_cli, setting)
    assert code == 1 and message in err


CLIP = (
    "embed_dim = 32, text_cfg = {width = 32, heads = 2, layers = 1, context_length = 16}, vision_cfg = {image_size = "
)
VIT = 'student={kind = "timm_image", embed_dim = 32, image_size = 32, model = "vit_tiny_patch16_224", options = {'


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (
            VIT + "img_size = [32, 64]}}",
            "student: cannot look at pictures of 3 x 32 x 32 (Input width (32) doesn't match",
        ),
        (VIT + "in_chans = 1}}", "student: cannot look at pictures of 3 x 32 x 32 ("),
        (
            f'student={{kind = "openclip_image", model = {{{CLIP}[32, 64], layers = 1, width = 64}}}}}}',
            "student: vision_cfg.image_size = [32, 64]: pictures are squares; give one number",
        ),
    ],
    ids=["two sides", "one channel", "two sides of open_clip"],
)
def test_a_network_that_takes_other_pictures_than_it_is_given(student, run_cli, network, told):
    assert told in says_at_once(student, network)
    code, _, err = checked(student, run_cli, network)
    assert code == 1 and told in err and err.count("\n") == 1


def test_a_measurement_of_a_store_that_is_not_there(student, run_cli, tmp_path):
    assert "nowhere" in says_at_once(student, validation(tmp_path / "nowhere"))
    code, out, _ = checked(student, run_cli, validation(tmp_path / "nowhere"))
    assert code == 0 and f"validation   retrieval of {tmp_path}/nowhere (not there yet)" in out


@pytest.mark.parametrize("where", ["evals", "validation", "data"])
def test_a_store_that_is_damaged_is_not_one_that_is_not_there_yet(student, run_cli, tmp_path, where):
    """It will not come by itself, and nothing that is expected of it stands for it."""
    place = shutil.copytree(student.stores / "images", tmp_path / "images")
    (place / "manifest.json").write_text("{")
    settings = {
        "evals": [f'evals=[{{ kind = "retrieval", store = "{place}" }}]'],
        "validation": [validation(place)],
        "data": [f'data.images="{place}"', "data.expect={ rows = 70, widths = { image = 32, text = 32 } }"],
    }
    code, out, err = checked(student, run_cli, *settings[where])
    assert code == 1 and f"{place}/manifest.json: " in err and err.count("\n") == 1 and "not there yet" not in out + err


def test_a_store_of_nearly_that_name_is_told(student, run_cli):
    """It may be made later, so the check passes."""
    for nearly in (f"{student.stores}/image", f"{student.stores}/ima"):
        setting = validation(nearly)
        code, out, _ = checked(student, run_cli, setting)
        assert code == 0 and f"{nearly} (not there yet, did you mean {student.stores}/images?)" in out
        setting = f'evals=[{{ kind = "retrieval", store = "{nearly}" }}]'
        code, out, _ = checked(student, run_cli, setting)
        assert code == 0 and f"{nearly} (not there yet, did you mean {student.stores}/images?)" in out


def test_texts_of_a_store_without_any(student, run_cli, tmp_path):
    text = (student.stores.parent / "extract.toml").read_text().split('[[corpora]]\nname = "texts"')[0]
    recipe = tmp_path / "silent.toml"
    recipe.write_text(text.replace('fields = ["image", "text"]', 'fields = ["image"]'))
    distillkit.extract(recipe, lambda line: None, overrides=[f'out="{tmp_path}/silent"'])
    setting, message = (
        f'data.texts="{tmp_path}/silent/images"',
        "silent/images: no field 'text'; it has: openclip/image; ",
    )
    message = f"data.texts: {tmp_path}/{message}name a store of texts, extracted with fields"
    assert message in says_at_once(student, setting)
    code, _, err = checked(student, run_cli, setting)
    assert code == 1 and message in err


def test_a_factor_that_starts_above_what_it_may_be_is_told(student, run_cli):
    """It was trained at 100 without a word."""
    setting = 'losses=[{ kind = "contrastive", text = "teacher", logit_scale = 150.0 }]'
    settings = [setting, 'data.texts=""', 'data.captions="unique"']
    told = "contrastive: logit_scale = 150 is above 100, the most that a learned factor may be: it trains at 100"
    code, out, err = checked(student, run_cli, *settings)
    assert code == 0 and told in out, err
    code, err = student(*settings)
    assert code == 0 and told in err
    for other in ("100.0", "150.0, learned_scale = false"):
        code, out, _ = checked(student, run_cli, setting.replace("150.0", other), *settings[1:])
        assert code == 0 and "above 100" not in out


def test_a_number_that_a_measurement_does_not_give(student, run_cli):
    message = "validation.best: this eval gives no 'R@7'; it gives: R@1"
    assert message in says_at_once(student, validation(student.stores / "images", "R@7"))
    code, _, err = checked(student, run_cli, validation(student.stores / "images", "R@7"))
    assert code == 1 and message in err


def test_kind_a_labels_that_classes_cannot_be_learned_from(student, run_cli):
    settings = ('data.texts=""', f'data.classes="{student.stores}/texts"')
    message = "has a class; extract it with its labels"
    assert message in says_at_once(student, *settings)
    code, _, err = checked(student, run_cli, *settings)
    assert code == 1 and message in err


def test_images_that_are_not_there(student, tmp_path):
    moved = f'data.root="{tmp_path}/nowhere"'
    message = f"{tmp_path}/nowhere: no such folder of images; where the images of {student.stores}/images are by now"
    assert message in says_at_once(student, moved)
    assert student()[0] == 0
    assert student(moved) == (
        0,
        f"{student.run}: already trained, nothing to do\nnext: distillkit evaluate {student.run}\n",
    )


def test_images_of_a_measurement_that_are_not_there(student, tmp_path):
    """The store is another one than that which is trained on, but of the same images."""
    others = shutil.copytree(student.stores / "images", tmp_path / "others")
    message = says_at_once(student, validation(others), f'data.roots={{ "{others}" = "{tmp_path}/nowhere" }}')
    assert f"no such folder of images; where the images of {others} are by now" in message


def test_images_that_are_measured_on_and_trained_on_are_told(student, run_cli, tmp_path):
    images = student.stores / "images"
    for name, rows in (("few", "0:30"), ("held", "30:40")):
        assert run_cli("store", "view", images, tmp_path / name, "--rows", rows)[0] == 0
    trained = f'data.images="{tmp_path}/few"'
    assert run_cli("store", "view", images, tmp_path / "near", "--rows", "25:40")[0] == 0

    def evals(name):
        return f'evals=[{{ kind = "retrieval", store = "{tmp_path}/{name}" }}]'

    cure = f"to hold them out, train on: distillkit store view {tmp_path}/few VIEW --other-than {tmp_path}/near"
    such = "such as 'images/025.png', 'images/026.png', 'images/027.png'"
    told = f"evaluation by retrieval: 5 of 15 images of {tmp_path}/near are trained on, {such}; {cure}"
    code, out, err = checked(student, run_cli, trained, evals("near"))
    assert code == 0 and f"seen         {told}\n" in out, err
    code, err = student(trained, evals("near"))
    assert code == 0 and f"{told}\n" in err
    assert "are trained on" not in student(trained, evals("near"))[1]  # finished
    assert "are trained on" not in checked(student, run_cli, trained, evals("held"))[1]
    cure = f"to hold some out: distillkit store view {tmp_path}/few HELD-OUT --share 0.2, and train on"
    assert (
        f"30 of 30 images of {tmp_path}/few are trained on; {cure}"
        in checked(student, run_cli, trained, evals("few"))[1]
    )


def test_a_store_that_the_evaluation_will_lack_is_told_and_the_student_is_trained(student, run_cli, tmp_path):
    setting = f'evals=[{{ kind = "retrieval", store = "{tmp_path}/nowhere" }}]'
    code, err = student(setting)
    assert code == 0 and "evals[0]: " in err and "nowhere" in err and "needed when the student is evaluated" in err
    assert "evals[0]" not in student(setting)[1]  # finished: nothing to prepare for
    code, out, _ = checked(student, run_cli, setting)
    assert code == 0 and "evaluation   retrieval of" in out and "nowhere (not there yet)" in out


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio", "tensorboard"])
def test_a_tracker_that_is_missing_moves_no_older_run(student, monkeypatch, name):
    assert student()[0] == 0
    monkeypatch.setitem(sys.modules, name, None)
    code, err = student(
        f"log.{name}=" + ("true" if name == "tensorboard" else '"mine"'), "seed=9", words=["--overwrite"]
    )
    assert code == 1 and err.count("\n") == 1 and f'pip install "distillkit[{name}]"' in err
    assert (student.run / "student.json").is_file() and not list(student.run.parent.glob("run.before-*"))
