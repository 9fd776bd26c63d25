"""Libraries that talk while they load are not heard, and are afterwards."""

import itertools
import logging
import re

import pytest
import torch

from distillkit.system import progress
from distillkit.teachers._frozen import quiet, weights_sha256


def test_what_torch_says_of_names_that_it_will_drop_is_not_heard(caplog):
    talk = logging.getLogger("torch.utils._pytree")
    level = talk.level
    with caplog.at_level(logging.WARNING), quiet():
        talk.warning("an Enum subclass is now natively supported")
    assert caplog.records == [] and talk.level == level


def test_the_checksum_of_large_weights_tells_how_far_it_is(monkeypatch):
    clock, said = itertools.count(0, 20), []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 7))
    alone = weights_sha256(network)
    with progress.heard_by(said.append):
        assert weights_sha256(network) == alone
    assert len(said) == 3 and all(re.fullmatch(r"sha256 of the weights: bytes \d+/248  .* left", one) for one in said)
    assert progress.hearer() is None


def test_the_root_logger_is_given_no_handler(monkeypatch):
    """By the functions of `logging`, which open_clip calls: `logging.basicConfig` did nothing afterwards."""
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    with quiet():
        logging.info("instantiating model")
    assert logging.root.handlers == [] and logging.root.level == level
    with pytest.raises(ValueError, match="within"), quiet():
        raise ValueError("within")
    assert logging.root.handlers == []
