"""What a kind of one's own lacks: one line where it is built, not a traceback where it is asked, hours later."""

from __future__ import annotations

import inspect
from typing import Any

from distillkit.errors import RecipeError

# What docs/architecture.md says that whoever writes a kind of a room writes.
WANTED = {
    "sources": ("root", "__iter__"),
    "teachers": ("fields", "fingerprint"),  # it may see no images, read no texts, and say little of itself
    "students": ("image_size", "widths", "forward", "embed"),
    "exports": ("precisions", "holds", "write", "open", "lines"),
    "losses": ("name", "weight", "needs", "forward"),
    "importers": ("fields", "teachers", "views", "source", "__iter__", "read"),
    "evals": ("name", "run"),  # which stores it reads, it may name in other words than `store`
}
_UNWRITTEN = "_forward_unimplemented"  # what stands in torch's modules for a forward that nobody wrote


def built(room: str, kind: str, its: type, from_the_run: tuple[Any, ...], knobs: dict[str, Any]) -> Any:
    """An object of the class `its`. RecipeError where it cannot be called so, or lacks what its room wants."""
    where = f"{room}: kind {kind!r}"
    try:
        inspect.signature(its).bind(*from_the_run, **knobs)
    except TypeError as error:
        given = ", ".join(type(one).__name__ for one in from_the_run) or "nothing"
        raise RecipeError(
            f"{where}: its constructor does not take what it is given ({error}): {given} from the run, then keywords "
            "alone; make every other parameter keyword-only"
        ) from error
    except ValueError:  # of a class without a signature, as some are that are not written in Python
        pass
    made = its(*from_the_run, **knobs)
    if lacks := [name for name in WANTED[room] if _lacks(made, name) and not _goes_without(room, made, name)]:
        raise RecipeError(f"{where}: has no {', no '.join(lacks)}, which one of {room} must have; add it to the class")
    return made


def _lacks(made: Any, name: str) -> bool:
    # Of the class where it has one: a property of it may be slow, or refuse on its own. A module's forward may have
    # been given to it alone, in its constructor.
    found = getattr(type(made), name, None)
    found = getattr(made, name, _lacks) if found is None or _unwritten(found) else found
    return found is _lacks or (name == "__iter__" and found is None) or _unwritten(found)


def _unwritten(found: Any) -> bool:
    return getattr(found, "__name__", "") == _UNWRITTEN


def _goes_without(room: str, made: Any, name: str) -> bool:
    """Whether this one does what its room asks of it without that part."""
    if name == "embed":  # a student that sees no images
        return room == "students" and getattr(made, "image_size", 0) is None
    # A module that says itself what a call of it means need leave nothing to a forward.
    own = [base for base in type(made).__mro__ if not base.__module__.startswith("torch.")]
    return name == "forward" and any("__call__" in vars(base) for base in own)
