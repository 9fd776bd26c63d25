"""Affinity mimicking: softmax(teacher scores) is the target of softmax(student scores), row by row.

    L = reduce over directions of  D( softmax(g_t q_t k_t^T / T) || softmax(g_s q_s k_s^T / T) )

over unit vectors, mean over rows, D = KL or cross-entropy. What is query, key and scale makes the papers' terms:

| term | `between` | knobs | paper |
|---|---|---|---|
| L_vl | image, teacher text | | DIME-FM eq. 2, https://arxiv.org/abs/2303.18232 |
| L_pvl | image, teacher image | temperature 3, symmetric false | DIME-FM eq. 4 |
| L_udist | image, image | temperature 7 | DIME-FM eq. 3 |
| CRD | image, text | logit_scale own, directions mean | CLIP-KD eq. 8-10, https://arxiv.org/abs/2307.12732 |
| affinity | image, text | logit_scale 50, cross_entropy, directions mean | TinyCLIP, https://arxiv.org/abs/2309.12314 |
| L_vlalign | image, teacher text | temperature 7, directions rows, top_k 256, agreeing_only | OOD |

OOD: https://arxiv.org/abs/2307.03135, scale 1/0.07. CLIP-KD's XKD, the same between projected features: interactive.py.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.losses._gather import gather
from distillkit.losses._products import product
from distillkit.losses._score import divergence, matching, pick, read, refuse_other_widths
from distillkit.losses._sharpness import remark
from distillkit.recipe.schema import Count, Scale, Temperature
from distillkit.types import Batch, Features, Widths

Between = Literal["image, text", "image, teacher text", "image, student text", "image, teacher image", "image, image"]

# (student query, student key), (teacher query, teacher key); the columns are the transposed direction.
# "image, student text": learned texts (CoOp prompts) serve both sides, and only the student's side trains them.
PAIRS = {
    "image, text": (("student.image", "student.text"), ("teacher.image", "teacher.text")),
    "image, teacher text": (("student.image", "teacher.text"), ("teacher.image", "teacher.text")),
    "image, student text": (("student.image", "student.text"), ("teacher.image", "student.text")),
    "image, teacher image": (("student.image", "teacher.image"), ("teacher.image", "teacher.image")),
    "image, image": (("student.image", "student.image"), ("teacher.image", "teacher.image")),
}


class Affinity(nn.Module):
    """`logit_scale`: the factor of the cosines of student and teacher. A number: the same for both; "teacher": the
    teacher's own factor for both, which is 100 for CLIP; "own": each network's own. `temperature`: what the scaled
    cosines are divided by, for student and teacher.

    `between`: the queries and the keys whose cosines are compared, as "queries, keys". `divergence`: how the student's
    softmax is compared with the teacher's, by Kullback-Leibler divergence or by cross-entropy; both have equal
    gradients. `directions`: "rows": images choose among keys; "columns": keys choose among images; "sum", "mean": both,
    added or averaged. `symmetric`: false: the loss of the rows counts for the columns, too, as in DIME-FM's L_pvl,
    which is twice its row direction. `top_k`: compare only the teacher's k best keys of each row; all, if not given.
    Only with directions = "rows". `agreeing_only`: true: leave out images whose best key for the teacher is not the
    text that describes them; if that leaves none, the loss is 0. Only with directions = "rows".
    """

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        between: Between = "image, teacher text",
        logit_scale: Scale | Literal["own", "teacher"] = 100.0,
        temperature: Temperature = 1.0,
        divergence: Literal["kl", "cross_entropy"] = "kl",
        directions: Literal["sum", "mean", "rows", "columns"] = "sum",
        symmetric: bool = True,
        top_k: Count | None = None,
        agreeing_only: bool = False,
    ):
        super().__init__()
        if (top_k is not None or agreeing_only) and directions != "rows":
            raise RecipeError('losses.affinity: top_k and agreeing_only choose among rows; set directions = "rows"')
        self.name, self.weight = name, weight
        self.student_pair, self.teacher_pair = PAIRS[between]
        refuse_other_widths(widths, *self.student_pair, "affinity")
        self.student_scale = "student.scale" if logit_scale == "own" else "teacher.scale"
        scales = (self.student_scale, "teacher.scale") if isinstance(logit_scale, str) else ()
        self.needs = tuple(dict.fromkeys((*self.student_pair, *self.teacher_pair, *scales)))
        # An image chooses among texts, and a mixed one makes both choices; of the other pairs images are a side.
        self.takes_mixed = directions == "rows" and between.endswith("text")
        self.logit_scale, self.temperature = logit_scale, temperature
        self.divergence, self.directions, self.symmetric = divergence, directions, symmetric
        self.top_k, self.agreeing_only = top_k, agreeing_only
        self.between_itself = between == "image, image"

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        batch, student = gather(batch, student, self.needs)
        scores = self._scores(self.student_pair, self.student_scale, batch, student)
        with torch.no_grad():
            targets = self._scores(self.teacher_pair, "teacher.scale", batch, student)
        if self.directions == "rows":
            return self._rows(scores, targets, batch)
        if self.directions == "columns":
            return self._columns(scores, targets)
        rows = self._rows(scores, targets, batch)
        # Scores of a batch with itself are symmetric: their columns are their rows.
        columns = rows if not self.symmetric or self.between_itself else self._columns(scores, targets)
        return rows + columns if self.directions == "sum" else (rows + columns) / 2

    @torch.no_grad()
    def remark(self, batch: Batch) -> str | None:
        """What to tell of the teacher's targets for these images, where they are nearly one-hot or nearly uniform."""
        if any(place.startswith("student") for place in self.teacher_pair):
            return None
        targets = self._scores(self.teacher_pair, "teacher.scale", batch, Features())
        return remark(targets.T if self.directions == "columns" else targets)

    def _scores(self, pair: tuple[str, str], scale: str, batch: Batch, student: Features) -> Float[Tensor, "n m"]:
        query, key = (pick(place, batch, student) for place in pair)
        multiplier = read(scale, batch, student) if isinstance(self.logit_scale, str) else self.logit_scale
        return product(multiplier / self.temperature * query, key.T)

    def _rows(self, scores: Tensor, targets: Tensor, batch: Batch) -> Float[Tensor, ""]:
        agrees = targets.argmax(1) == matching(batch) if self.agreeing_only else None
        if self.top_k is not None:
            targets, best = targets.topk(min(self.top_k, targets.shape[1]), dim=1)
            scores = scores.gather(1, best)
        rows = divergence(scores, targets, self.divergence)
        return rows.mean() if agrees is None else (rows * agrees).sum() / agrees.sum().clamp(min=1)

    def _columns(self, scores: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        return divergence(scores, targets, self.divergence, dim=0).mean()
