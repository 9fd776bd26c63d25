"""Captions in retrieval: kind I, a page of text among short ones costs no memory; kind B, equal ones are no rivals."""

import resource

import pytest
import torch

from distillkit.errors import StoreError
from distillkit.evals.retrieval import Retrieval
from tests.evals.worlds import Store, Teacher, run


def test_kind_i_captions_are_not_padded_to_the_longest():
    """As an array of numpy's strings these would be 1.6 GB, and several times that when sorted."""
    names = [f"caption {n}" for n in range(1999)] + ["page " * 40_000]
    features = torch.randn(2000, 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = run(Retrieval(store="s", ks=[1]), Teacher(), s=Store(features, features, names=names))
    assert found["R@1"] == 1.0 and found["texts"] == 2000.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # KiB


def test_kind_b_captions_of_one_name_in_two_unicode_forms_are_one():
    names = ["caf\u00e9", "tea", "cafe\u0301"]
    found = run(Retrieval(store="s", ks=[1]), Teacher(), s=Store([0, 1, 0], [0, 1, 0], names=names))
    assert found["texts"] == 2.0 and found["R@1"] == 1.0


def test_kind_b_captions_that_differ_by_case_are_one_where_the_teacher_says_the_same_of_both():
    """One caption for a tokenizer that makes small letters of capitals: the second image is not told to be wrong."""
    names = ["A  dog", "a cat", "a dog", "A Cat"]
    found = run(Retrieval(store="s", ks=[1]), Teacher(), s=Store([0, 1, 0, 1], [0, 1, 0, 1], names=names))
    assert found["texts"] == 2.0 and found["R@1"] == 1.0 and found["text to image R@1"] == 1.0


def test_kind_b_captions_that_differ_by_case_are_two_where_the_teacher_tells_them_apart():
    names = ["A dog", "a cat", "a dog", None]
    found = run(Retrieval(store="s", ks=[1]), Teacher(), s=Store([0, 1, 2, 3], [0, 1, 2, 3], names=names))
    assert found["texts"] == 3.0 and found["R@1"] == 1.0


def test_rows_without_a_caption_are_not_asked():
    store = Store([0, 1, 2], [0, 1, 2], names=["a", None, "c"])
    found = run(Retrieval(store="s", ks=[1]), Teacher(), s=store)
    assert (found["images"], found["texts"], found["R@1"]) == (2.0, 2.0, 1.0)
    with pytest.raises(StoreError, match="none of its rows has a caption"):
        run(Retrieval(store="s"), Teacher(), s=Store([0, 1], [0, 1], names=["", None]))
