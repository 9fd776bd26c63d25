"""Libraries that talk while they load are not heard, and are afterwards."""

import logging

from distillkit.teachers._frozen import quiet


def test_what_torch_says_of_names_that_it_will_drop_is_not_heard(caplog):
    talk = logging.getLogger("torch.utils._pytree")
    level = talk.level
    with caplog.at_level(logging.WARNING), quiet():
        talk.warning("an Enum subclass is now natively supported")
    assert caplog.records == [] and talk.level == level
