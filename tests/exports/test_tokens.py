"""tokenizer.json says what CLIP's own tokenizer says, also of texts that it mends before it reads them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from open_clip.tokenizer import SimpleTokenizer

from distillkit.errors import ExportError
from distillkit.exports._mending import DIFFERS
from distillkit.exports._tokens import _clip, read_tokens, write_tokenizer
from distillkit.parity.card import _split
from distillkit.parity.questions import ODD
from distillkit.students._openclip import TextInput
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
    write_tokenizer(tmp_path, SimpleNamespace(tokenizer="x", options={}, context_length=3))
    texts = ["caf&eacute;", "cafe\u0301", "\uff21\uff22", "\x1b[1mAB"]
    assert read_tokens(tmp_path, texts)[:, 0].tolist() == [1, 1, 2, 2]


def test_what_still_differs_is_told_in_docs_and_on_the_card(tmp_path):
    assert DIFFERS in " ".join((DOCS / "export.md").read_text().split())
    assert _split(tmp_path, "onnx") == ""
    write_tokenizer(tmp_path, SimpleNamespace(tokenizer=None, context_length=24))
    assert _split(tmp_path, "onnx").endswith(f"except {DIFFERS}.") and _split(tmp_path, "open_clip") == ""


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyzABC.,!'-",
    "photo",
    "a",
    "cat",
    "Cat",
]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A tokenizer of word pieces in a folder, of letters that stay large."""
    from tokenizers.implementations import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("pieces")
    every = dict.fromkeys([*WORDS, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")])
    made = BertWordPieceTokenizer({piece: number for number, piece in enumerate(every)}, lowercase=False)
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, **marks).save_pretrained(str(folder))
    return str(folder)


@pytest.mark.parametrize("clean", [None, "whitespace", "lower", "canonicalize"])
def test_texts_are_cleaned_as_open_clip_is_told_to(pieces, tmp_path, clean):
    """SigLIP's models have "canonicalize": without it, "A_Cat!" is other words."""
    options = {"tokenizer_mode": None} | ({"clean": clean} if clean else {})
    reads = TextInput(24, False, pieces, options)
    text = SimpleNamespace(tokenizer=pieces, options=options, context_length=24)
    texts = ["a photo of a cat", "A_Cat!", " A  PHOTO,\tof (a) cat's...", "ΑΣ Σ", *ODD]
    expected = reads.tokenize(texts).tolist()
    for name in ("first", "second"):  # the student goes on with its own, unchanged
        (tmp_path / name).mkdir()
        write_tokenizer(tmp_path / name, text)
        assert read_tokens(tmp_path / name, texts).tolist() == expected == reads.tokenize(texts).tolist()


@pytest.mark.parametrize("options", [{"strip_sep_token": True}, {"tokenizer_mode": "clips"}])
def test_what_open_clip_does_to_tokens_that_are_there_is_refused(pieces, tmp_path, options):
    text = SimpleNamespace(tokenizer=pieces, options=options, context_length=24)
    with pytest.raises(ExportError, match=rf"tokenizer\.json: has no step for {next(iter(options))} of this student"):
        write_tokenizer(tmp_path, text)
    assert list(tmp_path.iterdir()) == []
