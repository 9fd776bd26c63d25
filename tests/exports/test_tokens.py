"""tokenizer.json says what CLIP's own tokenizer says, also of texts that it mends before it reads them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from open_clip.tokenizer import SimpleTokenizer

from distillkit.exports._mending import DIFFERS
from distillkit.exports._tokens import _clip, read_tokens, write_tokenizer
from distillkit.parity.card import _split
from tests.exports.mended import MENDED

DOCS = Path(__file__).parents[2] / "docs"
TEXTS = [
    *("a photo of a cat", "", "  two  spaces\tand\na line ", "it's they'll I'D", "Über ÉCOLE Straße", "日本語 の text"),
    *("nine o’clock", "“so” ‘it’ ‚is„", "salt &amp; pepper &lt;3 &amp;lt; &quot;x&quot; it&#39;s", "oﬃce ﬁve ﬆ Ǆ ĳ ŉ"),
    *("emoji 👩‍🚀 ☀️", "1234 5,6.7!?", "e\u0301 \u00e9", "word " * 40),
    *MENDED,
]


@pytest.fixture(scope="module")
def both():
    made = _clip()
    made.enable_truncation(24)
    made.enable_padding(length=24, pad_id=0, pad_token="!")
    return made, SimpleTokenizer(context_length=24)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_open_clips(both, text):
    made, theirs = both
    ours, expected = made.encode(text).ids, theirs([text]).tolist()[0]
    if len(text) > 100:  # open_clip puts the end over the last token that fits
        ours, expected = ours[:-1], expected[:-1]
    assert ours == expected


def test_transformers_reads_the_same(tmp_path):
    """It makes special tokens of what the configuration names: none of a text's own marks may be one of them."""
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path, SimpleNamespace(tokenizer=None, context_length=24))
    texts = [text for text in TEXTS if len(text) < 100 and text != "!"]
    found = AutoTokenizer.from_pretrained(str(tmp_path))(texts, padding="max_length", truncation=True)["input_ids"]
    assert found == SimpleTokenizer(context_length=24)(texts).tolist() == read_tokens(tmp_path, texts).tolist()


def test_a_tower_of_letters_that_stay_large_is_mended_too(tmp_path, monkeypatch):
    """Tokenizers of Hugging Face get what open_clip hands them: mended, and composed."""
    import tokenizers

    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "caf\u00e9": 1, "AB": 2}, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    whole = SimpleNamespace(backend_tokenizer=inner, pad_token="[UNK]", unk_token="[UNK]", pad_token_id=0)
    monkeypatch.setattr("distillkit.exports._tokens._hugging_face", lambda *_: SimpleNamespace(tokenizer=whole))
    write_tokenizer(tmp_path, SimpleNamespace(tokenizer="x", context_length=3))
    texts = ["caf&eacute;", "cafe\u0301", "\uff21\uff22", "\x1b[1mAB"]
    assert read_tokens(tmp_path, texts)[:, 0].tolist() == [1, 1, 2, 2]


def test_what_still_differs_is_told_in_docs_and_on_the_card(tmp_path):
    assert DIFFERS in " ".join((DOCS / "export.md").read_text().split())
    assert _split(tmp_path, "onnx") == ""
    write_tokenizer(tmp_path, SimpleNamespace(tokenizer=None, context_length=24))
    assert _split(tmp_path, "onnx").endswith(f"except {DIFFERS}.") and _split(tmp_path, "open_clip") == ""
