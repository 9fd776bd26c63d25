"""A manifest that a later version wrote is told from a damaged one: nobody writes it anew."""

import json

import pytest

from distillkit.errors import StoreError
from distillkit.store.format.manifest import Newer, readable


def changed(toy, change):
    store = toy.write().path if hasattr(toy, "write") else toy.path
    file = store / "manifest.json"
    file.write_text(change(file.read_text()))
    return store


def test_a_key_that_nobody_knows_is_a_newer_ones(toy):
    store = changed(toy, lambda text: json.dumps(json.loads(text) | {"tiers": {"a": 1}}))
    with pytest.raises(
        Newer, match=r"manifest.json: not a manifest of this version \('tiers' is newer\); use the dist"
    ):
        readable(store)


@pytest.mark.parametrize("where", ["fields", "shards", "files"])
def test_such_a_key_of_a_field_a_shard_or_a_file_is_a_newer_ones_too(toy, where):
    def change(text):
        told = json.loads(text)
        shard, field = told["shards"][0], next(iter(told["fields"].values()))
        {"fields": field, "shards": shard, "files": next(iter(shard["files"].values()))}[where]["tier"] = 1
        return json.dumps(told)

    store = changed(toy, change)
    with pytest.raises(Newer, match=r"\('tier' is newer\)"):
        readable(store)


@pytest.mark.parametrize("letter", ['"clippee"', '"shb256"', '"dtypo"'])
def test_a_damaged_letter_within_is_none(toy, letter):
    meant = {'"clippee"': '"clipped"', '"shb256"': '"sha256"', '"dtypo"': '"dtype"'}[letter]

    def change(text):
        told = json.loads(text)
        told["shards"][0].setdefault("clipped", {})
        return json.dumps(told).replace(meant, letter, 1)

    assert not readable(changed(toy, change))


@pytest.mark.parametrize("damaged", ['"remarjs"', '"rews"'])
def test_a_damaged_letter_is_no_newer_version(toy, damaged):
    def change(text):
        told = json.loads(text) | {"remarks": {}}
        text = json.dumps(told)
        return text.replace('"remarks"' if damaged == '"remarjs"' else '"rows"', damaged, 1)

    store = changed(toy, change)
    assert not readable(store)


def test_newer_is_an_error_of_stores():
    assert issubclass(Newer, StoreError)
