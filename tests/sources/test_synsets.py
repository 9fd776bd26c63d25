import open_clip
import pytest

from distillkit.sources.synsets import Synsets, entries


def example(folder):
    return {"subset": "imagenet1k", "templates": None}


def read(**knobs):
    return {one.key: (one.text, one.label) for one in Synsets(subset="imagenet1k", **knobs)}


def test_words_in_templates_and_definitions():
    found = read()
    assert len(found) == 1000 * (7 + 1)
    assert found["n01440764/0/0"] == (open_clip.SIMPLE_IMAGENET_TEMPLATES[0]("tench"), 0)
    text, label = found["n01440764/definition"]
    assert text.startswith("tench: freshwater") and text.endswith(".") and label == 0
    assert len(read(templates="openai_imagenet", definitions=False)) == 80_000


def test_every_word_of_a_synset():
    found = read(lemmas="all", definitions=False)
    assert found["n01440764/1/0"] == (open_clip.SIMPLE_IMAGENET_TEMPLATES[0]("Tinca tinca"), 0)
    assert len(found) > 7 * 1000 and {label for _, label in found.values()} == set(range(1000))


@pytest.mark.parametrize(
    ("subset", "count"), [("imagenet21k", 21_843), ("imagenet12k", 11_821), ("imagenet22k", 21_841)]
)
def test_every_list_has_words_and_definitions(subset, count):
    found = list(entries(subset))
    assert len(found) == count == len({entry.synset for entry in found})
    assert all(entry.definition and all(entry.lemmas) for entry in found)
