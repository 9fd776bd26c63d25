"""The losses of the five papers: where each is, and how many golden cases it passes.

    python -m tests.losses.table

Golden cases are run, here and now: a row counts those that pass, of those that name it.
"""

from __future__ import annotations

from pathlib import Path

from tests.losses.test_golden import ARRAYS, CASES, check, modes

ROOT = Path(__file__).parents[2]
LOSSES, STUDENTS, EVALS = "distillkit/losses", "distillkit/students", "distillkit/evals"
# Paper, term, file, and the names of its golden cases, of that paper's method.
TERMS = [
    ("dime_fm", "L_vl", f"{LOSSES}/affinity.py", {"L_vl"}),
    ("dime_fm", "L_pvl", f"{LOSSES}/affinity.py", {"L_pvl"}),
    ("dime_fm", "L_udist", f"{LOSSES}/affinity.py", {"L_udist"}),
    ("dime_fm", "weighted sum", f"{LOSSES}/affinity.py", {"total"}),
    ("clip_kd", "task", f"{LOSSES}/contrastive.py", {"task_clip", "ClipLoss"}),
    ("clip_kd", "CRD", f"{LOSSES}/affinity.py", {"CRD"}),
    ("clip_kd", "FD", f"{LOSSES}/feature_regression.py", {"FD"}),
    ("clip_kd", "MFD", f"{LOSSES}/feature_regression.py", {"MFD"}),
    ("clip_kd", "MFD's masking", f"{STUDENTS}/_masking.py", {"MFD_random_masking"}),
    ("clip_kd", "GD", f"{LOSSES}/gradient.py", {"GD"}),
    ("clip_kd", "ICL", f"{LOSSES}/interactive.py", {"ICL"}),
    ("clip_kd", "XKD", f"{LOSSES}/interactive.py", {"cross_kd"}),
    ("clip_kd", "AFD", f"{LOSSES}/fusion.py", {"AFD"}),
    ("clip_kd", "on one process", f"{LOSSES}/_gather.py", {"any"}),
    ("clip_kd", "weighted sum", "distillkit/training/objective.py", {"total"}),
    ("tinyclip", "affinity", f"{LOSSES}/affinity.py", {"affinity_i2t", "affinity_t2i", "affinity_avg"}),
    ("tinyclip", "with the hard loss", f"{LOSSES}/contrastive.py", {"total"}),
    ("tinyclip", "L0 Lagrangian", f"{LOSSES}/sparsity.py", {"L0_lagrangian", "L0_joint_lagrangian"}),
    ("tinyclip", "L0 masks", f"{STUDENTS}/_l0.py", {"L0_masks"}),
    ("tinyclip", "manual inheritance", f"{STUDENTS}/_inherit.py", {"weight_inherit_manual"}),
    ("proteus", "token", f"{LOSSES}/token_regression.py", {"token", "token_clip_variant"}),
    ("proteus", "feature", f"{LOSSES}/token_regression.py", {"feature"}),
    ("proteus", "patch", f"{LOSSES}/token_regression.py", {"patch"}),
    ("proteus", "weighted sum", "distillkit/training/objective.py", {"total"}),
    ("ood", "L_cls", f"{LOSSES}/contrastive.py", {"L_cls"}),
    ("ood", "L_vlalign", f"{LOSSES}/affinity.py", {"L_vlalign", "L_cls+L_vlalign"}),
    ("ood", "L_cst", f"{LOSSES}/contrastive.py", {"L_cst"}),
    ("ood", "L_mse", f"{LOSSES}/feature_regression.py", {"L_mse"}),
    ("ood", "L_cap", f"{LOSSES}/caption_contrast.py", {"L_cls+L_cap"}),
    ("ood", "weighted sum", "distillkit/training/objective.py", {"total"}),
    ("ood", "few-shot retrieval", f"{EVALS}/_tip.py", {"few_shot_retrieval_logits"}),
    ("also", "label KD", f"{LOSSES}/label_kd.py", set()),
    ("also", "cosine, smooth L1", f"{LOSSES}/feature_regression.py", set()),
    ("also", "sigmoid (SigLIP)", f"{LOSSES}/sigmoid.py", set()),
]


def passes(case: dict) -> bool:
    """Whether our code gives what this case records, in every mode that it has."""
    try:
        for mode in modes(case):
            check(case, ARRAYS, mode)
    except AssertionError:
        return False
    return True


def rows() -> list[tuple[str, str, str, str, str]]:
    """Paper, term, file, its lines, and cases passed of those there are."""
    found = []
    for paper, term, file, names in TERMS:
        cases = [case for case in CASES if case["method"] == paper and case["loss"] in names]
        told = f"{sum(map(passes, cases))} of {len(cases)}" if cases else "none published"
        found.append((paper, term, file, str(len((ROOT / file).read_text().splitlines())), told))
    return found


def main() -> None:
    table = [("paper", "term", "file", "lines", "golden cases passed"), *rows()]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
