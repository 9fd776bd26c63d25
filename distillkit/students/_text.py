"""What students with a text tower of open_clip share: tokens of their own, and one embedding."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from distillkit.students._openclip import TextInput, encode_text


class TextStudent(nn.Module):
    """A kind of student sets `text`, its tower, and `text_input`, what that reads."""

    text: Any
    text_input: TextInput

    @property
    def context_length(self) -> int:
        """How many tokens a text has at most."""
        return self.text_input.context_length

    def tokenize(self, texts: list[str]) -> Int[Tensor, "t l"]:
        """Tokens, padded to the longest of these texts where the tower does not mind, else to its context."""
        return self.text_input.tokenize(texts)

    def embed_text(self, tokens: Int[Tensor, "t l"]) -> Float[Tensor, "t d"]:
        return encode_text(self.text, tokens)
