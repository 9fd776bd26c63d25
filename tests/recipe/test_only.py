"""--only: some of a recipe's corpora or evals, by name."""

import pytest

from distillkit.errors import RecipeError
from distillkit.recipe import ExtractRecipe, load
from distillkit.recipe.only import only

WORDS = ["one", "two", "three"]


def test_some_in_the_recipes_order_and_all_without_a_name():
    assert only(WORDS, ["three", "one"], str, "word") == ["one", "three"]
    assert only(WORDS, [], str, "word") == WORDS


@pytest.mark.parametrize(("name", "told"), [("tow", "did you mean 'two'"), ("xyz", "there are: one, two, three")])
def test_a_name_that_nothing_has(name, told):
    with pytest.raises(RecipeError, match=f"--only {name}: the recipe has no word of that name; {told}"):
        only(WORDS, ["one", name], str, "word")


def test_a_corpus_alone(recipes, run_cli):
    extract, _ = recipes
    assert [one.name for one in load(extract, kind=ExtractRecipe).only(["texts"]).corpora] == ["texts"]
    for command in (["extract-teacher"], ["store", "append"]):
        code, _, err = run_cli(*command, extract, "--only", "text")
        assert code == 1 and "no corpus of that name; did you mean 'texts'?" in err
