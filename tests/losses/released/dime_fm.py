"""DIME-FM's cases by our losses."""

from distillkit.losses.affinity import Affinity
from distillkit.types import Batch, Features
from tests.losses.released.running import run, widths_of


def dime_fm(case, x, mode):
    hyper = case["hyper"]
    student, teacher = Features(image=x["s_img"]), Features(image=x["t_img"], text=x["t_txt"])
    widths, scale = widths_of(student, teacher), hyper["logit_scale"]

    def term(name):
        knobs = {
            "vl": {"between": "image, teacher text"},
            "pvl": {"between": "image, teacher image", "symmetric": False},
            "udist": {"between": "image, image"},
        }[name]
        loss = Affinity(widths, logit_scale=scale, temperature=hyper[f"t_{name}"], **knobs)
        return run(loss, Batch(teacher=teacher), student)

    if case["loss"] == "total":
        return sum(hyper[f"w_{name}"] * term(name) for name in ("vl", "pvl", "udist"))
    return term(case["loss"].removeprefix("L_"))
