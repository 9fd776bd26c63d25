"""Weights of a run that a test replaces on purpose: what the record beside them tells of them goes along."""

import hashlib
import json

from safetensors.torch import save

from distillkit.system.best import RECORD, is_best
from distillkit.system.weights import FILE, TOLD
from tests.records import without_checksum


def replace_weights(folder, weights):
    """Other weights, as if training had ended with them."""
    content = save({name: value.contiguous() for name, value in weights.items()})
    (folder / FILE).write_bytes(content)
    _tell(folder, {TOLD: hashlib.sha256(content).hexdigest()})


def as_older(folder):
    """A run of a version that kept no checksum of its weights."""
    _tell(folder, {})


def _tell(folder, told):
    path = folder / (RECORD if is_best(folder) else "student.json")
    record = json.loads(path.read_bytes())
    record.pop(TOLD, None)
    path.write_text(without_checksum(record | told))
