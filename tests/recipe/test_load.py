"""A wrong recipe is refused in one line that names the place and the nearest right word."""

import re
import sys

import pytest

from distillkit.errors import RecipeError
from distillkit.recipe import Component, ExtractRecipe, TrainRecipe, differences, load


@pytest.fixture
def extract(tmp_path):
    """An extraction recipe as a dictionary of lines to change, and the loader of what they make."""
    lines = {
        "name": '"toy"',
        "out": '"stores"',
        "teacher": '{ kind = "openclip", model = "ViT-B-32/openai" }',
        "corpora": '[{ name = "images", source = { kind = "folder", root = "x" }, fields = ["image"] }]',
    }

    def made(*overrides, **changes):
        path = tmp_path / "recipe.toml"
        content = {key: value for key, value in (lines | changes).items() if value is not None}
        path.write_text("\n".join(f"{key} = {value}" for key, value in content.items()))
        return load(path, list(overrides), kind=ExtractRecipe)

    return made


@pytest.fixture
def train(recipes):
    def made(*overrides):
        return load(recipes[1], list(overrides), kind=TrainRecipe)

    return made


def refusal(made, *arguments, **changes):
    with pytest.raises(RecipeError) as caught:
        made(*arguments, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_recipe_is_taken_as_written(extract, train):
    recipe = extract()
    assert recipe.teacher.knobs == {"model": "ViT-B-32/openai"} and recipe.corpora[0].source.kind == "folder"
    assert recipe.corpora[0].rows_per_shard is None and recipe.corpora[0].dtype == "float16"
    assert train().optim.betas == (0.9, 0.999)


# Misspelt keys.


def test_a_recipe_as_windows_writes_it_is_a_recipe(recipes):
    """Kind H: with a byte order mark, and carriage returns."""
    before = load(recipes[0], kind=ExtractRecipe)
    recipes[0].write_bytes(b"\xef\xbb\xbf" + recipes[0].read_bytes().replace(b"\n", b"\r\n"))
    assert load(recipes[0], kind=ExtractRecipe) == before


def test_a_misspelt_key_is_named_with_the_right_one(extract, train):
    assert "recipe.toml: unknown key 'techer', did you mean 'teacher'?" in refusal(extract, techer="1")
    message = refusal(train, "optim.learning=1")
    assert "optim: unknown key 'learning', known: " in message and ", lr, min_lr, " in message
    assert "optim: unknown key 'epoch', did you mean 'epochs'?" in refusal(train, "optim.epoch=1")
    assert "data.augment: unknown key 'flips', did you mean 'flip'?" in refusal(train, "data.augment.flips=0.1")
    assert "optim: unknown key 'learning_rate', did you mean 'optim.lr'?" in refusal(train, "optim.learning_rate=1.0")
    assert "train.toml: unknown key 'batch_size', did you mean 'data.batch_size'?" in refusal(train, "batch_size=8")
    assert "unknown key 'max_failures', did you mean 'corpora.max_failures'?" in refusal(extract, max_failures="0.1")
    assert "baseline: unknown key 'caption', did you mean 'captions'?" in refusal(train, 'baseline.caption="paired"')
    corpora = '[{ name = "i", source = { kind = "folder", root = "x" }, fields = ["image"], batchsize = 3 }]'
    told = "corpora[0]: unknown key 'decode', it belongs at the top of the recipe, above its tables"
    assert told in refusal(extract, corpora=corpora.replace("batchsize = 3", 'decode = "threads"'))
    assert "corpora[0]: unknown key 'batchsize', did you mean 'batch_size'?" in refusal(extract, corpora=corpora)


def test_a_misspelt_key_of_an_entry_that_the_recipe_names_itself_is_told(train):
    """`weight` and `b` are no keys of the recipe's own; an entry may be called like one."""
    message = refusal(train, "losses.0.ramp={weight={to=0.1,step=6}}")
    assert "losses[0].ramp.weight: unknown key 'step', did you mean 'stop'?" in message
    for name in ("b", "images"):
        message = refusal(train, f'data.also={{{name}={{image="x"}}}}')
        assert f"data.also.{name}: unknown key 'image', did you mean 'images'?" in message


def test_a_misspelt_knob_is_named_with_the_right_one(extract, train):
    teacher = '{ kind = "openclip", model = "x", precison = "fp32" }'
    assert "teacher.openclip: unknown key 'precison', did you mean 'precision'?" in refusal(extract, teacher=teacher)
    source = '[{ name = "i", source = { kind = "folder", roots = "x" }, fields = ["image"] }]'
    message = refusal(extract, corpora=source)
    assert "corpora[0].source.folder: " in message and "(and 1 more)" in message
    assert message.partition(": ")[0].endswith("recipe.toml")  # as of a key that no component has
    assert "losses[1].affinity: unknown key 'temprature', did you mean 'temperature'?" in refusal(
        train, "losses.1.temprature=1.0"
    )
    assert "train.toml: losses[1].affinity: " in refusal(train, "losses.1.temprature=1.0")
    assert "baseline.losses[0].contrastive: unknown key 'texts', did you mean 'text'?" in refusal(
        train, 'baseline.losses.0.texts="x"'
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("losses.0.logit_scale=0.0", "losses[0].affinity: logit_scale: Input should be greater than 0"),
        ("losses.0.logit_scale=-3.0", "losses[0].affinity: logit_scale: Input should be greater than 0"),
        ("losses.0.top_k=0", "losses[0].affinity: top_k: Input should be greater than 0"),
        ('losses.0={ kind = "contrastive", logit_scale = -1.0 }', "logit_scale: Input should be greater than 0"),
        ('losses.0={ kind = "fusion", logit_scale = 0.0 }', "logit_scale: Input should be greater than 0"),
        ('losses.0={ kind = "interactive", teacher_scale = 0.0 }', "teacher_scale: Input should be greater than 0"),
        ('losses.0={ kind = "sigmoid", logit_scale = 0.0 }', "logit_scale: Input should be greater than 0"),
        ('losses.0={ kind = "gradient", logit_scale = 0.0 }', "logit_scale: Input should be greater than 0"),
        ('losses.0={ kind = "label_kd", top_k = -1 }', "top_k: Input should be greater than 0"),
        ('losses.0={ kind = "one_hot", smoothing = 1.5 }', "smoothing: Input should be less than or equal to 1"),
        ('losses.0={ kind = "sparsity", target = 25.0 }', "target: Input should be less than 1"),
        ("student.drop_patches=1.0", "student.timm_image: drop_patches: Input should be less than 1"),
        ("student.drop=-0.5", "student.timm_image: drop: Input should be greater than or equal to 0"),
        ("data.augment.scale=[1.0, 0.5]", "data.augment: scale = [1.0, 0.5]: want 0 <= low <= high <= 1"),
        ("data.augment.scale=[0.0, 0.0]", "data.augment: scale = [0.0, 0.0]: want 0 <= low <= high <= 1"),
        ("data.augment.ratio=[0.0, 1.0]", "data.augment: ratio = [0.0, 1.0]: want 0 < low <= high"),
        ("optim.betas=[0.9, 1.0]", "optim.betas[1]: Input should be less than 1"),
        ("optim.milestones=[-1.0]", "optim.milestones[0]: Input should be greater than or equal to 0"),
        (
            "losses.0.ramp={ temperature = { to = 0.0, stop = 9 } }",
            "losses[0].affinity: at the end of its ramp: temperature: Input should be greater than 0",
        ),
        (
            'losses.0={ kind = "affinity", directions = "rows", top_k = 2, ramp = { top_k = { to = 9.0, stop = 9 } } }',
            "at the end of its ramp: top_k: Input should be a valid integer",
        ),
    ],
)
def test_a_number_that_means_nothing_is_refused_before_anything_is_built(train, setting, told):
    assert told in refusal(train, setting)


def test_a_student_whose_model_is_a_table_is_called_by_its_towers():
    """Titles of reports and rows of listings show this."""
    towers = {"vision_cfg": {"width": 64, "layers": 2}, "text_cfg": {"width": 32, "layers": 1}}
    pair = Component(kind="openclip_pair", model=towers)
    assert pair.called == "openclip_pair (image 64 x 2, text 32 x 1)"
    assert Component(kind="openclip_pair", model={"embed_dim": 8}).called == "openclip_pair"
    assert Component(kind="timm_image", model="resnet18").called == "resnet18"


def test_a_misspelt_kind_is_named_with_the_right_one(extract, train):
    assert "teachers: unknown kind 'open_clip', did you mean 'openclip'?" in refusal(
        extract, teacher='{ kind = "open_clip" }'
    )
    assert "losses: unknown kind 'afinity', did you mean 'affinity'?" in refusal(train, 'losses.0.kind="afinity"')


def test_several_problems_are_counted(extract):
    assert "(and 1 more)" in refusal(extract, techer="1", ot="2")


# What is missing, of the wrong type, or out of range.


def test_what_is_missing_is_named_with_its_place(extract, train):
    assert "'out' is missing" in refusal(extract, out=None)
    assert "'teacher.kind' is missing" in refusal(extract, teacher='{ model = "x" }')
    assert "teacher.openclip: 'model' is missing" in refusal(extract, teacher='{ kind = "openclip" }')
    assert "'optim.betas[1]' is missing" in refusal(train, "optim.betas=[0.9]")
    assert "'corpora[0].source' is missing" in refusal(extract, corpora='[{ name = "i", fields = ["image"] }]')


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ('optim.lr="fast"', "optim.lr: "),
        ("optim.lr=-1", "optim.lr: "),
        ("optim.epochs=true", "optim.epochs: "),
        ("data.batch_size=1", "data.batch_size: "),
        ("data.batch_size=16.5", "data.batch_size: "),
        ('data.captions="some"', "data.captions: "),
        ("losses=[]", "losses: "),
        ("seed=1.5", "seed: "),
        ('optim.precision="fp8"', "optim.precision: "),
        ('losses.0.weight="x"', "losses[0].affinity: weight: "),
        ("losses.0.symmetric=1", "losses[0].affinity: symmetric: "),
        ("losses=[{ kind = 3 }]", "losses[0].kind: "),
        ('data="x"', "data: "),
    ],
)
def test_values_of_the_wrong_type_or_out_of_range_are_named(train, override, place):
    message = refusal(train, override)
    assert place in message and "(got " in message


@pytest.mark.parametrize("students", ["5", '"two"', "[3]", "[[]]", '{ name = "a", kind = "timm_image" }'])
def test_students_that_are_no_list_of_tables_are_refused(recipes, students):
    """The first of them is read before any is checked. Found by fuzzing."""
    recipes[1].write_text(re.sub(r"\[student\]\n(.+\n)+", "", recipes[1].read_text()))
    with pytest.raises(RecipeError, match=r"^.*: students(\[0\])?: [^\n]+$"):
        load(recipes[1], [f"students={students}"], kind=TrainRecipe)


def test_long_values_are_cut(train):
    assert len(refusal(train, f'optim.lr="{"x" * 5000}"')) < 400


def test_unpaired_texts_and_captions_exclude_each_other(train):
    assert "texts (unpaired) excludes captions and classes" in refusal(train, 'data.captions="paired"')


def test_two_corpora_of_one_name_would_be_one_store(extract):
    corpus = '{ name = "i", source = { kind = "folder", root = "x" }, fields = ["image"] }'
    assert "two corpora are called 'i'" in refusal(extract, corpora=f"[{corpus}, {corpus}]")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b"])
def test_a_corpus_is_named_like_a_folder_below_out(extract, name):
    corpora = f'[{{ name = "{name}", source = {{ kind = "folder", root = "x" }}, fields = ["image"] }}]'
    assert "corpora[0].name: " in refusal(extract, corpora=corpora)


# --set


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("optim.lr=3e-4", lambda recipe: recipe.optim.lr, 3e-4),
        ("optim.lr = 3e-4", lambda recipe: recipe.optim.lr, 3e-4),
        ('name="other"', lambda recipe: recipe.name, "other"),
        ("losses.1.weight=0.5", lambda recipe: recipe.losses[1].knobs["weight"], 0.5),
        ("data.augment.flip=0.0", lambda recipe: recipe.data.augment.flip, 0.0),
        ("data.augment={ flip = 0.25 }", lambda recipe: recipe.data.augment.flip, 0.25),
        ("data.augment.scale=[0.5, 1.0]", lambda recipe: recipe.data.augment.scale, (0.5, 1.0)),
        ('out="a=b"', lambda recipe: recipe.out, "a=b"),
    ],
)
def test_overrides_are_toml(train, override, read, value):
    assert read(train(override)) == value


def test_later_overrides_win(train):
    assert train("seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr", "--set optim.lr: write key=value, such as --set optim.lr=3e-4"),
        ("name=other", "'other' is not a TOML value (quote strings: --set 'name=\"other\"')"),
        ("out=/data/x", "is not a TOML value (quote strings"),
        ("optim.lr=", "is not a TOML value (quote strings"),
        (
            "data.augment.scale=0.3,1",
            "is not a TOML value (put brackets around a list: --set 'data.augment.scale=[0.3,1]')",
        ),
        ("name=a, b", "is not a TOML value (quote strings: --set 'name=\"a, b\"')"),
        ("losses.7.weight=1", "'losses.7.weight' is no place in the recipe's tables"),
        ("losses.x.weight=1", "'losses.x.weight' is no place in the recipe's tables"),
        ("name.deeper=1", "'name.deeper' is no place in the recipe's tables"),
        ("optin.lr=1", "unknown key 'optin', did you mean 'optim'?"),
        ("=1", "unknown key ''"),
    ],
)
def test_overrides_that_fit_nowhere_say_so(train, override, message):
    assert message in refusal(train, override)


def test_an_override_sets_one_value(train):
    with pytest.raises(RecipeError, match="is not a TOML value"):
        train("seed=1\nout = 2")


# Files.


def test_of_many_recipes_the_nearest_are_told_and_how_many_more(tmp_path):
    for name in ("1", "2", "3", "4", "5", "6", "my_long_training_recipe_of_clip"):
        (tmp_path / f"{name}.toml").touch()
    with pytest.raises(RecipeError, match=r"\(there are: my_long_training_recipe_of_clip.toml, .*\.toml and 2 more\)$"):
        load(tmp_path / "clip.toml", kind=ExtractRecipe)
    (tmp_path / "2.toml").unlink()
    (tmp_path / "3.toml").unlink()
    with pytest.raises(RecipeError, match=r"\(there are: 1\.toml, 4.*clip\.toml\)$"):
        load(tmp_path / "zzz.toml", kind=ExtractRecipe)


def test_what_is_no_recipe_file(tmp_path, extract):
    extract()
    with pytest.raises(RecipeError, match=r"recip\.toml: no such recipe, did you mean .*recipe\.toml\?"):
        load(tmp_path / "recip.toml", kind=ExtractRecipe)
    with pytest.raises(RecipeError, match=r"no such recipe; name the file of one$"):
        load(tmp_path / "other" / "zzz", kind=ExtractRecipe)
    with pytest.raises(RecipeError, match="no such recipe"):
        load(tmp_path, kind=ExtractRecipe)


@pytest.mark.parametrize("content", [b"name: yaml\n", b'name = "open', b"{}", b"a = 1\na = 2"])
def test_what_is_no_toml(tmp_path, content):
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "recipe.toml", kind=ExtractRecipe)
    assert (
        "recipe.toml: not TOML: " in str(caught.value)
        and "; mend that place" in str(caught.value)
        and "\n" not in str(caught.value)
    )


def test_kind_h_what_is_no_utf_8_is_told_as_that(tmp_path):
    for content in (b"\xff\xfe", "name = 'x'".encode("utf-16"), "# caf\u00e9".encode("latin-1")):
        (tmp_path / "recipe.toml").write_bytes(content)
        with pytest.raises(RecipeError, match=r"recipe\.toml: not UTF-8 \(.*\); convert the file$"):
            load(tmp_path / "recipe.toml", kind=ExtractRecipe)


def test_kind_f_of_a_knob_of_several_types_each_is_told_with_what_it_takes(extract):
    corpora = '[{ name = "a", source = { kind = "jsonl", file = "x", captions = %s }, fields = ["text"] }]'
    for wrong, told in (("-1", "greater than or equal to 0"), ('"every"', "a valid integer")):
        message = f"jsonl: captions: Input should be {told}, or 'whole' or 'all' (got "
        assert message in refusal(extract, corpora=corpora % wrong)


def test_a_training_recipe_is_no_extraction_recipe(recipes):
    with pytest.raises(RecipeError, match=r"train\.toml: "):
        load(recipes[1], kind=ExtractRecipe)


def test_components_outside_the_package_are_checked_like_our_own(extract, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange_source.py").write_text(
        "class Mine:\n    root = None\n    def __init__(self, *, size: int, colour: str = 'red'): ...\n"
        "    def __iter__(self): ...\n"
    )
    corpora = '[{{ name = "i", source = {{ kind = "strange_source:Mine", {} }}, fields = ["image"] }}]'
    assert extract(corpora=corpora.format("size = 3")).corpora[0].source.build("sources")
    assert "unknown key 'color', did you mean 'colour'?" in refusal(
        extract, corpora=corpora.format('size = 1, color = "x"')
    )
    assert "'size' is missing" in refusal(extract, corpora=corpora.format('colour = "x"'))
    sys.modules.pop("strange_source")


def test_differences_are_told_one_by_one():
    old = {"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": None}
    new = {"a": 1, "b": {"c": [1, 3], "d": "y"}, "f": 2}
    assert differences(old, new) == ["b.c[1]: 2 -> 3", "b.d: 'x' -> 'y'", "e: None -> 'absent'", "f: 'absent' -> 2"]
    assert differences(old, old) == [] and differences([1], [1, 2], "x") == ["x: [1] -> [1, 2]"]


def test_a_recipe_begins_with_another(recipes, tmp_path):
    recipes[1].rename(tmp_path / "first.toml")
    (tmp_path / "then.toml").write_text('extends = "first.toml"\nname = "then"\n[optim]\nlr = 1e-5\n')
    first, then = (load(tmp_path / f"{name}.toml", kind=TrainRecipe) for name in ("first", "then"))
    assert (then.name, then.optim.lr) == ("then", 1e-5)
    assert then.model_copy(update={"name": first.name, "optim": first.optim}) == first
    assert then.optim.epochs == first.optim.epochs
    student = 'student = { kind = "openclip_image", model = "RN50" }'
    (tmp_path / "other.toml").write_text(f'extends = "first.toml"\n{student}\n')
    assert load(tmp_path / "other.toml", kind=TrainRecipe).student.knobs == {"model": "RN50"}


@pytest.mark.parametrize(
    ("text", "message"),
    [('extends = "me.toml"', "extends itself"), ('extends = "non.toml"', "no such recipe"), ("extends = 3", "no file")],
)
def test_what_cannot_be_begun_with(tmp_path, text, message):
    (tmp_path / "me.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load(tmp_path / "me.toml", kind=TrainRecipe)
