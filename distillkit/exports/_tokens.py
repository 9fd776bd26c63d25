"""tokenizer.json: CLIP's tokenizer, or the one that a text tower brings, as the library `tokenizers` reads it.

https://github.com/huggingface/tokenizers
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from open_clip.tokenizer import SimpleTokenizer

from distillkit.errors import MissingExtra
from distillkit.exports._described import TextTower
from distillkit.exports._files import put, write_json
from distillkit.students._openclip import _hugging_face

FILE = "tokenizer.json"
_START, _END, _PAD = "<|startoftext|>", "<|endoftext|>", "!"
# What open_clip mends before any tokenizer, by html.unescape and ftfy: https://ftfy.readthedocs.io/en/latest/explain.html
# (Bytes that were decoded wrongly it mends as well; that is no matter of single letters, and stays with it.)
_MENDED = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'"} | {
    letter: unicodedata.normalize("NFKC", letter) for letter in "ﬀﬁﬂﬃﬄﬆĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳ"
}
_QUOTES = {"[\u02bc\u2018-\u201b]": "'", "[\u201c-\u201f]": '"'}
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def write_tokenizer(folder: Path, text: TextTower) -> None:
    """The tokenizer of a text tower; texts become rows of its context length, longer ones are cut."""
    if text.tokenizer is None:
        made, told = _clip(), {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _PAD}
        pad = (0, _PAD)
    else:
        whole = _hugging_face(text.tokenizer, ()).tokenizer
        made, told = whole.backend_tokenizer, {"pad_token": whole.pad_token, "unk_token": whole.unk_token}
        pad = (whole.pad_token_id, whole.pad_token)
        steps = [] if made.normalizer is None else [made.normalizer]
        made.normalizer = _tokenizers().normalizers.Sequence([*_mending(), *steps])
    made.enable_truncation(text.context_length)
    made.enable_padding(length=text.context_length, pad_id=pad[0], pad_token=pad[1])
    put(folder / FILE, made.to_str(pretty=True).encode())
    # Not as a CLIPTokenizer: transformers would build that anew, and mend nothing.
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": text.context_length}
    write_json(folder / "tokenizer_config.json", kind | told)


def _mending() -> list[Any]:
    """Steps of a normalizer."""
    tokenizers = _tokenizers()
    replace = tokenizers.normalizers.Replace
    letters = [replace(found, instead) for found, instead in _MENDED.items()]
    return letters + [replace(tokenizers.Regex(found), instead) for found, instead in _QUOTES.items()]


def _clip() -> Any:
    """CLIP's own: pairs of bytes that were merged, of lower-case words."""
    tokenizers = _tokenizers()
    ours = SimpleTokenizer()
    names = {ours.sot_token_id: _START, ours.eot_token_id: _END}
    vocabulary = {names.get(number, token): number for token, number in ours.encoder.items()}
    model = tokenizers.models.BPE(
        vocab=vocabulary,
        merges=list(ours.bpe_ranks),
        unk_token=_END,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    made = tokenizers.Tokenizer(model)
    normal, split = tokenizers.normalizers, tokenizers.pre_tokenizers
    spaces = normal.Replace(tokenizers.Regex(r"\s+"), " ")
    made.normalizer = normal.Sequence([*_mending(), normal.NFC(), spaces, normal.Lowercase()])
    words = split.Split(tokenizers.Regex(_WORDS), behavior="removed", invert=True)
    made.pre_tokenizer = split.Sequence([words, split.ByteLevel(add_prefix_space=False)])
    start, end = (_START, ours.sot_token_id), (_END, ours.eot_token_id)
    made.post_processor = tokenizers.processors.RobertaProcessing(end, start, False, False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens([_START, _END])
    return made


def read_tokens(folder: Path, texts: list[str]) -> Int64[np.ndarray, "t l"]:
    """Rows of tokens, as tokenizer.json has them."""
    made = _tokenizers().Tokenizer.from_file(str(folder / FILE))
    return np.array([one.ids for one in made.encode_batch(texts)], np.int64)


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.normalizers
        import tokenizers.pre_tokenizers
        import tokenizers.processors
    except ImportError as error:
        raise MissingExtra("tokenizers", "export") from error
    return tokenizers
