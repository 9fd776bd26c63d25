"""A loss on the features and with the trained tensors of a case."""

from torch.func import functional_call

from distillkit.types import Widths


def run(loss, batch, student, heads=None):
    """The loss with its trained tensors replaced by the case's; none may be left at random."""
    heads = heads or {}
    assert heads.keys() == dict(loss.named_parameters()).keys()
    return functional_call(loss, heads, (batch, student))


def widths_of(student, teacher):
    """Widths of all fields that are there, as the training run would find them."""
    fields = ("image", "text", "caption", "cls", "patches", "masked", "masked_image")
    given = [{f: getattr(side, f) for f in fields if getattr(side, f) is not None} for side in (student, teacher)]
    return Widths(*({field: value.shape[-1] for field, value in side.items()} for side in given))
