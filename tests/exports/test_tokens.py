"""tokenizer.json says what CLIP's own tokenizer says, also of texts that it mends before it reads them."""

import pytest
from open_clip.tokenizer import SimpleTokenizer

from distillkit.exports._tokens import _clip

TEXTS = [
    *("a photo of a cat", "", "  two  spaces\tand\na line ", "it's they'll I'D", "Über ÉCOLE Straße", "日本語 の text"),
    *("nine o’clock", "“so” ‘it’ ‚is„", "salt &amp; pepper &lt;3 &amp;lt; &quot;x&quot; it&#39;s", "oﬃce ﬁve ﬆ Ǆ ĳ ŉ"),
    *("emoji 👩‍🚀 ☀️", "1234 5,6.7!?", "e\u0301 \u00e9", "word " * 40),
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
