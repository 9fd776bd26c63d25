"""Proteus' cases by our losses."""

from distillkit.losses.token_regression import TokenRegression
from distillkit.types import Batch, Features
from tests.losses.released.running import run, widths_of


def proteus(case, x, mode):
    hyper = case["hyper"]
    if case["loss"] == "total":
        levels = {"token": "lambda_token", "feature": "lambda_fea", "patch": "lambda_patch"}
        return sum(hyper[weight] * proteus(case | {"loss": level}, x, mode) for level, weight in levels.items())
    level = {"token_clip_variant": "token"}.get(case["loss"], case["loss"])
    student = Features(cls=x["s_cls"], patches=x.get("s_patch"), masked=x.get("s_patch_masked"))
    teacher = Features(cls=x["t_cls"], patches=x.get("t_patch"))
    loss = TokenRegression(widths_of(student, teacher), level=level)
    released = {"token_head": "token", "feature_head": "fea", "patch_head": "patch"}
    heads = {}
    for name, module in loss.named_children():
        assert module[0].eps == hyper.get("ln_eps", 1e-5)
        for place, layer in enumerate(("ln", "lin")):
            for part in ("weight", "bias"):
                heads[f"{name}.{place}.{part}"] = x[f"{released[name]}_{layer}_{part[0]}"]
    return run(loss, Batch(mask=x.get("masks"), teacher=teacher), student, heads)
