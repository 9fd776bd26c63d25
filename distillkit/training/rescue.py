"""A run that ends before its last step, by a signal or an error: what is kept, and where the same command goes on.

After an error that is the last step which is whole. It is not kept after a loss that is not finite, whose weights may
be the reason; nor where there is no room, or no disk; nor of a step that broke off in its middle, unless looking at a
batch changes nothing of the student; nor of one whose line in the log could not be written. No other process is
waited for: who failed alone would wait for ever.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from signal import SIGTERM
from typing import TYPE_CHECKING, NoReturn

from distillkit.callable import Say, silent
from distillkit.errors import DiskFull, DiskLost
from distillkit.system.stopping import after_steps, asked, code, told
from distillkit.training.checkpoint import newest
from distillkit.training.finite import NotFinite

if TYPE_CHECKING:
    from distillkit.training.course import Course
    from distillkit.training.learner import Learner

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def leave(courses: Sequence[Course], step: int, say: Say) -> NoReturn:
    """Keep the step in hand, then end with the code of the signal that asked. Ranks leave together, as they stepped."""
    if asked() is None:
        told(SIGTERM)  # another rank got it
    for course in courses:
        course.keep(step)
    courses[0].learner.ranks.wait()  # who ends first takes the others down
    say(f"stopped after step {step}; its checkpoint is kept, the same command continues")
    raise SystemExit(code(asked() or SIGTERM))


def leaving(learners: Sequence[Learner]) -> bool:
    """Whether to `leave` after the step just made: one process when it is asked, several where any of them was, which
    they have told each other with that step.
    """
    alone = not learners[0].ranks.several
    return asked() is not None if alone else any(learner.leaving for learner in learners)


@contextmanager
def rescued(courses: Sequence[Course], say: Say) -> Iterator[None]:
    """Around all steps of these courses, which may begin within: the error goes on, with a note of what is kept."""
    try:
        yield
    except Exception as error:
        if courses and courses[0].writes:
            with after_steps():  # who starts several processes stops all of them when one has failed
                note = _rescue(courses, error)
            error.add_note(note)
            if asked() is not None:  # then the error is not told, as others are why
                say(note)
        raise


def _rescue(courses: Sequence[Course], error: Exception) -> str:
    wrong = any(isinstance(one, NotFinite) for one in _chain(error))
    sound = not wrong and not any(map(_no_room, _chain(error)))
    kept = [_keeps(course) for course in courses if sound]
    step = min(newest(course.run.checkpoints) for course in courses)
    if not step:
        return "no checkpoint was written yet, so the same command begins at the first step"
    if any(kept):
        return f"a checkpoint of step {step} is kept, from which the same command goes on"
    why = ", as weights that gave such a loss are not worth keeping" if wrong else ""
    return f"the newest checkpoint is of step {step}, from which the same command goes on{why}"


def _keeps(course: Course) -> bool:
    """Whether its last step is kept now. Raises no error, which would hide the first."""
    if course.writer.failed or course.learner.sharded:
        return False
    try:
        course.writer.wait()
        if not course.learner.whole() or course.lacks_its_line(course.made):
            return False
        course.say = silent  # that nobody listens may be the error
        if course.made > newest(course.run.checkpoints):
            if course.owes:
                course.validator.forget_after(course.made - 1)  # half of it may be written: who goes on measures again
            course.write_checkpoint(course.made)
            course.writer.wait()
    except Exception:  # noqa: BLE001
        return False
    return 0 < course.made == newest(course.run.checkpoints)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came from."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _no_room(error: BaseException) -> bool:
    return isinstance(error, DiskFull | DiskLost) or (isinstance(error, OSError) and error.errno in _NO_ROOM)
