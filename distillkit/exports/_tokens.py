"""tokenizer.json: CLIP's tokenizer, or the one that a text tower brings, as the library `tokenizers` reads it.

https://github.com/huggingface/tokenizers
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from open_clip.tokenizer import SimpleTokenizer

from distillkit.errors import ExportError, MissingExtra
from distillkit.exports._described import TextTower
from distillkit.exports._files import put, write_json
from distillkit.exports._mending import cleaning, final_sigma, mending
from distillkit.students._openclip import _hugging_face

FILE = "tokenizer.json"
# As open_clip calls them, which reads them in a text, too; what others call them is a text as any to it.
_START, _END, _PAD = "<start_of_text>", "<end_of_text>", "!"
# transformers takes a pad token in a text for padding, too. It looks for one, so normalised, in what texts become: the
# mark alone gets a form feed behind it, which no text has by then, and which is no part of any word.
_ADDED = {"special": True, "normalized": True, "single_word": False, "lstrip": False, "rstrip": False}
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def write_tokenizer(folder: Path, text: TextTower) -> None:
    """The tokenizer of a text tower; texts become rows of its context length, longer ones are cut."""
    told: dict[str, Any]
    if text.tokenizer is None:
        made, told = _clip(), {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _PAD}
        told["added_tokens_decoder"] = {"0": _ADDED | {"content": _PAD}}
        pad = (0, _PAD)
    else:
        _refuse_what_has_no_step(text)
        whole = _hugging_face(text.tokenizer, tuple(text.options.items())).tokenizer
        made = _tokenizers().Tokenizer.from_str(whole.backend_tokenizer.to_str())  # the student goes on with its own
        told = {"pad_token": whole.pad_token, "unk_token": whole.unk_token}
        pad = (whole.pad_token_id, whole.pad_token)
        steps = [] if made.normalizer is None else [made.normalizer]
        clean = cleaning(_tokenizers(), text.options.get("clean", "whitespace"))
        made.normalizer = _tokenizers().normalizers.Sequence([*mending(_tokenizers()), *clean, *steps])
    made.enable_truncation(text.context_length)
    made.enable_padding(length=text.context_length, pad_id=pad[0], pad_token=pad[1])
    put(folder / FILE, made.to_str(pretty=True).encode())
    # Not as a CLIPTokenizer: transformers would build that anew, and mend nothing.
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": text.context_length}
    write_json(folder / "tokenizer_config.json", kind | told)


def _refuse_what_has_no_step(text: TextTower) -> None:
    """ExportError for what open_clip does to tokens when they are there, which tokenizer.json knows no step for."""
    lost = [name for name in ("strip_sep_token", "tokenizer_mode") if text.options.get(name)]
    if lost:
        raise ExportError(
            f"{FILE}: has no step for {' and '.join(lost)} of this student's tokenizer; export it to open_clip, or "
            "without its texts (--tower image)"
        )


def _clip() -> Any:
    """CLIP's own: pairs of bytes that were merged, of lower-case words."""
    tokenizers = _tokenizers()
    ours = SimpleTokenizer()
    model = tokenizers.models.BPE(
        vocab=dict(ours.encoder),
        merges=list(ours.bpe_ranks),
        unk_token=_END,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    made = tokenizers.Tokenizer(model)
    normal, split = tokenizers.normalizers, tokenizers.pre_tokenizers
    spaces = normal.Replace(tokenizers.Regex(r"\s+"), " ")
    pad = normal.Replace(tokenizers.Regex(f"^{_PAD}$"), f"{_PAD}\f")
    steps = [*mending(tokenizers), spaces, final_sigma(tokenizers), normal.Lowercase(), pad]
    made.normalizer = normal.Sequence(steps)
    words = split.Split(tokenizers.Regex(_WORDS), behavior="removed", invert=True)
    made.pre_tokenizer = split.Sequence([words, split.ByteLevel(add_prefix_space=False)])
    start, end = (_START, ours.sot_token_id), (_END, ours.eot_token_id)
    made.post_processor = tokenizers.processors.RobertaProcessing(end, start, False, False)
    made.decoder = tokenizers.decoders.ByteLevel()
    # Found in what was made of a text, as open_clip looks there: in small letters, that is.
    made.add_special_tokens([tokenizers.AddedToken(one, **_ADDED) for one in (_START, _END)])
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
