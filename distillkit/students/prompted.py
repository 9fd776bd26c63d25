"""CoOp: an image student beside a frozen text tower, whose prompts begin with learned context vectors.

    prompt = [start] v_1 .. v_m  words of the class [end]

Zhou et al. 2021, https://arxiv.org/abs/2109.01134; with OOD distillation, https://arxiv.org/abs/2307.03135, m is 8 and
both are trained together. The tower is the teacher's; its weights stay, but every step goes through it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.recipe import Component
from distillkit.recipe.schema import Width
from distillkit.recipe.weights import Inherit, inherited
from distillkit.students._inherit import refuse_other_activation
from distillkit.students._openclip import TextInput, configure, encode_text, text_tower
from distillkit.students._weights import openclip_teacher
from distillkit.types import Batch, Features


class Prompted(nn.Module):
    """`image`: the image student, a table with a kind of students. `model`: the network whose text tower is used, a
    name that open_clip has, or a table. `inherit`: the weights of the text tower: "NAME/TAG", "local-dir:FOLDER" or
    "hf-hub:OWNER/NAME". `context`: how many context vectors are learned; they stand before the words of every prompt.
    """

    def __init__(
        self, *, image: dict[str, Any], model: str | dict[str, Any], inherit: Inherit | None = None, context: Width = 8
    ):
        super().__init__()
        if "kind" not in image:
            raise RecipeError('student: image = {...} needs a kind, such as "timm_image"')
        component = Component(**image)
        component.check("students", "student.image")
        self.visual = component.build("students")
        if "text" in self.visual.widths:
            raise RecipeError(f"student: {component.kind} has a text tower of its own; prompts are for image students")
        config = configure(model, embed_dim=None)
        self.inherit, self.image_size = inherited(inherit), self.visual.image_size
        self.widths = self.visual.widths | {"text": config["embed_dim"]}
        self.text = text_tower(config).requires_grad_(False)
        whole = TextInput.of(self.text, config)
        self.text_input = whole._replace(context_length=whole.context_length - context)
        self.context = nn.Parameter(torch.empty(context, self._words.embedding_dim).normal_(std=0.02))

    @property
    def _words(self) -> nn.Embedding:
        table: Any = getattr(self.text, "token_embedding", None)
        return self.text.transformer.get_input_embeddings() if table is None else table

    @property
    def context_length(self) -> int:
        """How many tokens a class may have, start and end included."""
        return self.text_input.context_length

    @property
    def grid(self) -> tuple[int, int] | None:
        return getattr(self.visual, "grid", None)

    @property
    def patches(self) -> int:
        return int(getattr(self.visual, "patches", 0))

    def begin(self) -> None:
        """What a fresh run does once: take over the teacher's text tower. A resumed or finished run needs none."""
        if hasattr(self.visual, "begin"):
            self.visual.begin()
        if self.inherit is not None:
            tower = openclip_teacher(self.inherit).text
            refuse_other_activation(tower, self.text, self.inherit)
            self.text.load_state_dict(tower.state_dict())

    def train(self, mode: bool = True) -> Prompted:
        """The frozen tower stays as in evaluation: no dropout."""
        super().train(mode)
        self.text.eval()
        return self

    def tokenize(self, texts: list[str]) -> Int[Tensor, "t l"]:
        return self.text_input.tokenize(texts)

    def embed(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.visual.embed(pixels)

    def embed_tokens(self, pixels: UInt8[Tensor, "b 3 h w"]) -> tuple[Tensor | None, Tensor | None]:
        return self.visual.embed_tokens(pixels)

    def embed_text(self, tokens: Int[Tensor, "t l"]) -> Float[Tensor, "t d"]:
        """Texts behind the learned context. Tokens of the start keep its places until the embeddings are there."""
        start = tokens[:, :1]
        longer = torch.cat([start, start.expand(-1, len(self.context)), tokens[:, 1:]], dim=1)
        handle = self._words.register_forward_hook(self._put)
        try:
            return encode_text(self.text, longer)
        finally:
            handle.remove()

    def _put(self, module: nn.Module, inputs: Any, embedded: Tensor) -> Tensor:
        learned = self.context.to(embedded.dtype).expand(len(embedded), -1, -1)
        return torch.cat([embedded[:, :1], learned, embedded[:, 1 + len(self.context) :]], dim=1)

    def forward(self, batch: Batch) -> Features:
        text = None if batch.tokens is None else self.embed_text(batch.tokens)
        return replace(self.visual(batch), text=text)
