"""What is told of a teacher that was loaded: of one of somebody's own, as much as its fingerprint says."""

from typing import ClassVar

from distillkit.engine.loading import load
from distillkit.recipe import Component


class Brief:
    """Its fingerprint says what it must, and nothing else."""

    fields: ClassVar = {"image": [4]}

    def __init__(self, *, weights: str | None = None):
        self.weights = weights

    def fingerprint(self):
        return {} if self.weights is None else {"model": "brief", "weights_sha256": self.weights}


def test_a_teacher_of_ones_own_may_say_little_of_itself():
    said: list[str] = []
    known = load(Component(kind="tests.engine.test_loading:Brief", weights="ab" * 32), said.append)
    unknown = load(Component(kind="tests.engine.test_loading:Brief"), said.append)
    assert known.fingerprint["kind"] == "tests.engine.test_loading:Brief"
    assert said[1] == "teacher brief: loaded sha256 abababababababab"
    assert "with other weights it would count as the same teacher" in said[3]
    assert unknown.fingerprint == {"kind": known.fingerprint["kind"], "model": known.fingerprint["kind"]}
