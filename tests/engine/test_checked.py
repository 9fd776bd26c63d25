"""recipe check of an extraction: refused is what the extraction would refuse, before a weight is loaded or written."""

import json

import pytest


@pytest.fixture
def recipe(tmp_path, teacher_folder, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("distillkit.teachers.openclip.load", lambda *_: pytest.fail("a teacher was loaded"))
    (tmp_path / "extract.toml").write_text(
        f'name = "x"\nout = "stores"\n[teacher]\nkind = "openclip"\nmodel = "local-dir:{teacher_folder}"\n[[corpora]]\n'
        f'name = "images"\nsource = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}\nfields = ["image", "text"]\n'
    )
    return tmp_path / "extract.toml"


def test_a_sound_extraction_is_told_and_nothing_is_written(recipe, run_cli, teacher_folder, tmp_path):
    code, out, err = run_cli("recipe", "check", recipe)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == f"teacher      openclip: local-dir:{teacher_folder}"
    assert lines[1].startswith("corpus       images: ") and lines[1].endswith(" rows of csv")
    assert lines[2] == "store        stores/images: is not there yet; fields openclip/image, openclip/text"
    assert lines[3:] == [f"next         what it would take: distillkit extract-teacher {recipe} --plan"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("st")) == []
    told = [json.loads(line) for line in run_cli("recipe", "check", recipe, "--json")[1].splitlines()]
    assert [line["what"] for line in told] == ["teacher", "corpus", "store", "next"]


def test_classes_are_counted_and_a_file_of_evals_is_sent_to_its_command(recipe, run_cli, corpus, tmp_path):
    source = f'corpora.0.source={{kind="folder", root="{corpus}", classes=true}}'
    code, out, err = run_cli("recipe", "check", recipe, "--set", source, "--set", 'corpora.0.fields=["image"]')
    assert code == 0 and " rows of folder, 1 class\n" in out, err
    (tmp_path / "evals.toml").write_text('[[evals]]\nkind = "retrieval"\nstore = "stores/images"\n')
    code, _, err = run_cli("recipe", "check", tmp_path / "evals.toml")
    assert code == 1 and "evals.toml: a file of evals, which goes with a run and its stores: distillkit evaluate" in err


@pytest.mark.parametrize("file", ["ood", "tuning/ood"])
def test_claims_are_sent_to_their_command(run_cli, file):
    """They have evals, too, and were sent to a command that takes no claims."""
    code, _, err = run_cli("recipe", "check", f"pipelines/claims/{file}.toml")
    assert code == 1 and err.splitlines()[-1].endswith(f"distillkit claims pipelines/claims/{file}.toml --plan")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ('corpora.0.fields=["logits"]', "the teacher gives no 'logits'; it gives: image, "),
        ('corpora.0.source.file="gone.tsv"', "gone.tsv: no such file"),
        ('corpora.0.source.image_column="path"', "no column 'path' in its first line"),
        ('teacher.model="local-dir:gone"', "gone"),
        ("corpora.0.batch_siz=3", "unknown key 'batch_siz', did you mean 'batch_size'?"),
    ],
)
def test_what_an_extraction_would_refuse_is_refused(recipe, run_cli, override, told):
    code, _, err = run_cli("recipe", "check", recipe, "--set", override)
    assert code == 1 and told in err.splitlines()[-1] and "error: " in err


def test_a_store_that_would_make_way_is_refused(recipe, run_cli, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(recipe.parent)
    assert run_cli("extract-teacher", recipe, "--set", "corpora.0.max_failures=1.0")[0] == 0
    code, out, err = run_cli("recipe", "check", recipe)
    assert code == 0 and "store        stores/images: is there; " in out, err
    text = recipe.read_text().replace("[teacher]", '[[teachers]]\nname = "b"')
    (recipe.parent / "b.toml").write_text(text.replace(', "text"]', "]"))
    code, out, err = run_cli("recipe", "check", recipe.parent / "b.toml")
    assert code == 0 and "is there and stays as it is; b would be added to it, unless " in out, err
    code, _, err = run_cli("recipe", "check", recipe, "--set", 'teacher.name="b"')
    assert code == 1 and "a teacher that has a name is written in double brackets: [[teachers]]" in err
    code, _, err = run_cli("recipe", "check", recipe, "--set", 'corpora.0.dtype="float32"')
    assert code == 1 and "to extract anew means" in err
