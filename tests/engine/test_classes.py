"""Classes of a folder keep their numbers: a store to which one is appended, even in front, renumbers nothing."""

import json
import shutil
import tomllib

import pytest
from PIL import Image

from distillkit.engine.append import append
from distillkit.engine.planning import planned
from distillkit.errors import SourceError, StoreError
from distillkit.extract import extract
from distillkit.recipe import Corpus, ExtractRecipe
from distillkit.store.format.classes import classes_of
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.parts import assemble
from distillkit.stores import merge, store_info
from distillkit.teachers.openclip import Openclip

RECIPE = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{root}", classes = true }}
fields = ["image"]
rows_per_shard = 64
"""


@pytest.fixture
def world(tmp_path, teacher_folder):
    def add(name, count=3):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 40), (number * 20, len(name), 7)).save(tmp_path / f"photos/{name}/{number}.png")

    add("cat"), add("dog")
    recipe = tmp_path / "extract.toml"
    recipe.write_text(RECIPE.format(out=tmp_path / "out", teacher=teacher_folder, root=tmp_path / "photos"))
    said = []

    def run(**more):
        del said[:]
        return extract(recipe, said.append, **more)[0]

    run.add, run.said, run.store = add, said, tmp_path / "out/images"
    return run


def labels(path):
    store = FeatureStore(path)
    return dict(zip(store.index["key"].to_pylist(), store.index["label"].to_pylist(), strict=True))


@pytest.mark.parametrize("old", [False, True], ids=["with a table", "from before there was one"])
def test_a_new_class_in_front_is_appended_and_moves_none(world, old):
    before = labels(world())
    assert json.loads((world.store / "classes.json").read_bytes()) == {"cat": 0, "dog": 1}
    if old:
        (world.store / "classes.json").unlink()
    world.add("aardvark", 2), world.add("bee", 1)
    world(instead=append)
    after = labels(world.store)
    assert {key: after[key] for key in before} == before
    assert {key: after[key] for key in after.keys() - before.keys()} == {
        "aardvark/0.png": 2,
        "aardvark/1.png": 2,
        "bee/0.png": 3,
    }
    assert json.loads((world.store / "classes.json").read_bytes()) == {"cat": 0, "dog": 1, "aardvark": 2, "bee": 3}
    assert any("3 new rows behind 6" in line for line in world.said)
    world()
    assert any("already complete" in line for line in world.said)


@pytest.fixture
def table(tmp_path):
    """Labels in a column of a table, planned: (content of the file of class names, or None; labels) -> plan."""

    def planned_of(names, labels):
        Image.new("RGB", (40, 40)).save(tmp_path / "0.png")
        rows = [f"{number}.png\t{label}" for number, label in enumerate(labels)]
        (tmp_path / "table.tsv").write_text("\n".join(["filepath\tclass", *rows]) + "\n")
        if names is not None:
            (tmp_path / "classes.txt").write_text(names)
        source = {"kind": "csv", "file": str(tmp_path / "table.tsv"), "label_column": "class"}
        knob = {} if names is None else {"class_names": str(tmp_path / "classes.txt")}
        return planned(Corpus(name="x", source=source, fields=["image"], **knob), tmp_path / "x", print)

    return planned_of


def test_a_few_labels_that_are_no_name_cost_their_rows_nothing_else(table):
    found = table("cat\ndog\n", [*["dog"] * 10, "ox"])
    assert found.rows["label"].to_pylist() == [*[1] * 10, None]
    (loss,) = found.losses
    assert loss["key"] == "10.png" and f"{'ox'!r} is not listed in " in loss["error"]


def test_a_name_that_comes_again_is_a_class_that_the_file_lacks(table):
    with pytest.raises(
        SourceError, match=r"'ox' is not listed in .*classes\.txt, and 3 rows have it; add it as the last"
    ):
        table("cat\ndog\n", [*["dog"] * 40, "ox", "cow", "ox", "ox"])


@pytest.mark.parametrize(
    ("names", "labels", "told"),
    [
        (
            None,
            ["cat", "dog"],
            r"2 of 2 labels are no class numbers, as that of 0\.png .*class_names = FILE of the corpus",
        ),
        (
            "cat\ndog\n",
            ["ox", "dog"],
            r"1 of 2 labels are no names of a class, as that of 0\.png \('ox' is not listed in .*txt\); add each "
            r"name that it lacks as the last line, which moves no other class, or mend them, or name others in",
        ),
        ("cat\n\ndog\n", ["", ""], r"none of its 2 rows has a label"),
        ("\n", ["cat"], r"classes\.txt: has no class names; write one a line"),
    ],
)
def test_names_that_are_no_classes(table, names, labels, told):
    with pytest.raises(SourceError, match=told):
        table(names, labels)


def test_numbers_where_names_are_asked_for(tmp_path, world):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    knobs = {"kind": "folder", "root": str(tmp_path / "photos"), "classes": True}
    for file, told in (("classes.txt", "0 is no name; leave class_names out"), ("no.txt", "mend corpora.class_names")):
        corpus = Corpus(name="x", source=knobs, fields=["image"], class_names=str(tmp_path / file))
        with pytest.raises(SourceError, match=told):
            planned(corpus, tmp_path / "x", print)


def test_what_would_be_extracted_anew_is_offered_to_append(world):
    world()
    world.add("aardvark")
    with pytest.raises(StoreError, match="keep them and compute 3 more with `distillkit store append`"):
        world()


def test_info_names_the_classes(world, run_cli):
    world()
    code, out, _ = run_cli("store", "info", world.store)
    assert code == 0 and "classes  2: 0 cat, 1 dog\n" in out


def test_info_of_many_classes_names_the_first_and_the_last(world, run_cli):
    world()
    table = {f"c{number:02}": number for number in range(40)}
    (world.store / "checksums.json").unlink()
    (world.store / "classes.json").write_text(
        json.dumps(json.loads((world.store / "classes.json").read_text()) | table)
    )
    _, out, _ = run_cli("store", "info", world.store)
    (line,) = [line for line in out.splitlines() if line.startswith("classes")]
    assert line.endswith("..., 38 c38, 39 c39  (all of them: --json)")
    told = json.loads(run_cli("store", "info", world.store, "--json")[1])["."]
    assert len(told["classes"]) == 42 and told["classes"]["c20"] == 20 and store_info(world.store)["."] == told


def test_another_corpus_at_the_same_place_is_numbered_by_its_own_names(world, tmp_path):
    world()
    shutil.copytree(tmp_path / "photos/cat", tmp_path / "others/zebra")
    shutil.copytree(tmp_path / "photos/dog", tmp_path / "others/yak")
    world(overwrite=True, overrides=[f'corpora.0.source.root="{tmp_path}/others"'])
    assert json.loads((world.store / "classes.json").read_bytes()) == {"yak": 0, "zebra": 1}


def test_a_damaged_table_is_read_off_the_keys(world):
    world()
    (world.store / "classes.json").write_text("{")
    world.add("aardvark", 1)
    world(instead=append)
    assert labels(world.store)["aardvark/0.png"] == 2


def test_who_is_killed_in_the_next_corpus_has_a_store_with_its_names(world, tmp_path, monkeypatch):
    recipe = tmp_path / "extract.toml"
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    later = f'[[corpora]]\nname = "texts"\nsource = {{ kind = "textlines", file = "{tmp_path}/words.txt" }}\n'
    recipe.write_text(recipe.read_text() + later + 'fields = ["text"]\n')

    def killed(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Openclip, "tokenize", killed)
    with pytest.raises(KeyboardInterrupt):
        world()
    assert FeatureStore(world.store).manifest.rows == 6 and classes_of(world.store) == {"cat": 0, "dog": 1}


def test_images_of_another_folder_are_told_by_their_folder_and_merged_by_the_names_of_their_classes(world, tmp_path):
    first = labels(world())
    for name in ("bird", "dog", "eel"):
        (tmp_path / "later" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), (9, 9, len(name))).save(tmp_path / f"later/{name}/new.png")
    recipe = tmp_path / "later.toml"
    recipe.write_text(
        (tmp_path / "extract.toml").read_text().replace(str(tmp_path / "photos"), str(tmp_path / "later"))
    )
    with pytest.raises(
        StoreError, match=r"images lie below .*photos, those of the recipe below .*later; put the new ones"
    ):
        extract(recipe, instead=append)
    recipe.write_text(recipe.read_text().replace('name = "images"', 'name = "later"'))
    (later,) = extract(recipe)
    assert labels(later) == {"bird/new.png": 0, "dog/new.png": 1, "eel/new.png": 2}
    said = []
    merge(tmp_path / "both", [world.store, later], say=said.append)
    table = {"cat": 0, "dog": 1, "bird": 2, "eel": 3}
    assert classes_of(tmp_path / "both") == table and not [line for line in said if "labels" in line]
    assert labels(tmp_path / "both") == {**first, "bird/new.png": 2, "dog/new.png": 1, "eel/new.png": 3}
    (later / "classes.json").unlink()
    (later / "checksums.json").unlink()  # else it is known that there was one
    merge(tmp_path / "bare", [world.store, later], say=said.append)
    assert any("later: its labels have no names, so they stay the numbers" in line for line in said)


def test_parts_put_together_keep_the_names_of_their_classes(world, tmp_path):
    assemble(tmp_path / "merged/images", [world()], print, {"toy": "1"})
    assert classes_of(tmp_path / "merged/images") == {"cat": 0, "dog": 1}


@pytest.fixture
def merged(tmp_path, teacher_folder, monkeypatch):
    """A store merged of two tables whose labels are names, and its extraction again: knobs of each part, more of the
    corpus -> what was said. The second teacher is the first under another name and in another precision."""
    monkeypatch.chdir(tmp_path)
    teacher = {"kind": "openclip", "model": f"local-dir:{teacher_folder}"}
    paths = []
    for name, own in (("one", ["dog", "cat"]), ("two", ["eel", "dog"])):
        (tmp_path / name).mkdir()
        for number in range(len(own)):
            Image.new("RGB", (40, 40), (number, len(paths), 9)).save(tmp_path / f"{name}/{name}{number}.png")
        rows = [f"{name}{number}.png\t{label}" for number, label in enumerate(own)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["filepath\tclass", *rows]) + "\n")
        (tmp_path / f"{name}.txt").write_text("\n".join(sorted(own)))
        source = {"kind": "csv", "file": f"{name}.tsv", "root": name, "label_column": "class"}
        corpus = {"name": name, "source": source, "fields": ["image"], "class_names": f"{name}.txt"}
        paths += extract(
            ExtractRecipe.model_validate({"name": "x", "out": "s", "teacher": teacher, "corpora": [corpus]})
        )
    merge(tmp_path / "s/both", paths)

    def again(parts, **more):
        said, source = [], {"kind": "merged", "parts": parts}
        corpus = {"name": "both", "source": source, "fields": ["image"], **more}
        second = {"name": "second", **teacher, "precision": "bf16"}
        recipe = {"name": "x", "out": "s", "teachers": [second], "corpora": [corpus]}
        extract(ExtractRecipe.model_validate(recipe), said.append)
        assert labels(tmp_path / "s/both") == {"one0.png": 1, "one1.png": 0, "two0.png": 2, "two1.png": 1}
        assert set(FeatureStore(tmp_path / "s/both").said_by) == {"openclip", "second"}
        return said

    return again


def _parts(file, root):
    return [
        {"kind": "csv", "file": file.format(name), "root": root.format(name), "label_column": "class"}
        for name in ("one", "two")
    ]


@pytest.mark.parametrize("spelled", ["as first", "whole", "from elsewhere", "with detours"])
def test_a_teacher_is_added_to_a_merged_store_however_its_files_are_spelled(merged, tmp_path, monkeypatch, spelled):
    """And the names of the classes are the store's."""
    if spelled == "from elsewhere":
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        (tmp_path / "elsewhere/s").symlink_to(tmp_path / "s")
    whole = str(tmp_path) + "/{}"
    ways = {"as first": ("{}.tsv", "{}"), "with detours": ("./{}.tsv", "one/../{}")}
    file, root = ways.get(spelled, (whole + ".tsv", whole))
    said = merged(_parts(file, root))
    assert any("stays as it is, second added to it" in line for line in said)


def test_names_in_another_order_have_the_numbers_of_the_store(merged, tmp_path):
    (tmp_path / "all.txt").write_text("eel\ndog\ncat\n")
    said = merged(_parts("{}.tsv", "{}"), class_names="all.txt")
    assert any("all.txt has the classes in another order; they keep the numbers of the store" in line for line in said)


def test_other_rows_keep_a_teacher_from_being_added_which_is_told_before_it_is_loaded(merged, monkeypatch):
    monkeypatch.setattr("distillkit.teachers.openclip.load", lambda *_: pytest.fail("a teacher was loaded"))
    parts = [{name: value for name, value in part.items() if name != "label_column"} for part in _parts("{}.tsv", "{}")]
    told = r"s/both: source\.knobs\.parts.*, so second cannot be added to it; to extract anew means 4 rows"
    with pytest.raises(StoreError, match=told):
        merged(parts)


def test_a_name_that_the_store_lacks_is_told_with_what_to_write(merged, tmp_path):
    (tmp_path / "two.tsv").write_text("filepath\tclass\ntwo0.png\tfox\ntwo1.png\tfox\n")
    told = "of two0.png .*'fox' is no number, and no class of s/both.*one a line, and say class_names = FILE"
    with pytest.raises(SourceError, match=told):
        merged(_parts("{}.tsv", "{}"))


def test_the_labels_of_a_merged_source_without_a_store_are_told_with_what_to_write(tmp_path, merged):
    source = {"kind": "merged", "parts": _parts("{}.tsv", "{}")}
    with pytest.raises(SourceError, match=r"labels are no class numbers.*class_names = FILE of the corpus, one a line"):
        planned(Corpus(name="new", source=source, fields=["image"]), tmp_path / "s/new", print)


def test_a_teacher_is_added_to_a_store_merged_of_folders_by_the_names_of_their_classes(world, tmp_path, teacher_folder):
    for name in ("bird", "dog"):
        (tmp_path / "later" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), (9, 9, len(name))).save(tmp_path / f"later/{name}/new.png")
    (later,) = extract(
        tmp_path / "extract.toml",
        overrides=['corpora.0.name="later"', f'corpora.0.source.root="{tmp_path}/later"'],
    )
    both = tmp_path / "out/both"
    merge(both, [world(), later])
    parts = [{"kind": "folder", "root": str(tmp_path / name), "classes": True} for name in ("photos", "later")]
    teacher = {"name": "b", "kind": "openclip", "model": f"local-dir:{teacher_folder}", "precision": "bf16"}
    corpus = {"name": "both", "source": {"kind": "merged", "parts": parts}, "fields": ["image"]}
    recipe = {"name": "x", "out": str(tmp_path / "out"), "teachers": [teacher], "corpora": [corpus]}
    extract(ExtractRecipe.model_validate(recipe))
    assert labels(both)["dog/new.png"] == 1 and labels(both)["bird/new.png"] == 2
    assert set(FeatureStore(both).said_by) == {"openclip", "b"}
    anew = extract(ExtractRecipe.model_validate(recipe | {"out": str(tmp_path / "anew")}))[0]
    assert classes_of(anew) == {"cat": 0, "dog": 1, "bird": 2} and labels(anew) == labels(both)


def test_info_of_a_merged_store_prints_the_source_by_which_a_teacher_is_added(merged, run_cli):
    _, out, _ = run_cli("store", "info", "s/both")
    told = dict(line.split(maxsplit=1) for line in out.splitlines() if " " in line)
    assert 'a corpus "both" of this source: docs/feature-store.md' in told["adding"]
    kind, _, knobs = told["source"].partition(": ")
    assert kind == "merged" and merged(**tomllib.loads(knobs))
