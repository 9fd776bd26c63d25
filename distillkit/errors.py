"""Every failure a user can cause or mend. A message says what, where, and what to do next, in one line."""


class DistillkitError(Exception):
    """Base of all errors shown to users as one line, without a traceback."""


class RecipeError(DistillkitError):
    """A recipe, or a value in it, cannot be used."""


class StoreError(DistillkitError):
    """A feature store is missing, incomplete, damaged, or made by another teacher."""


class SourceError(DistillkitError):
    """A corpus, or one sample of it, cannot be read."""


class TeacherError(DistillkitError):
    """A teacher cannot be found, fetched or loaded."""


class TrainError(DistillkitError):
    """Training cannot start, go on or be resumed."""


class ExportError(DistillkitError):
    """A student cannot leave the house that way, or would answer otherwise there."""


class DiskFull(DistillkitError):
    """A file cannot be written: no space left, or no quota."""


class DiskLost(DistillkitError):
    """A file cannot be written: the disk or mount it lies on is gone, or can only be read."""


class NoHome(DistillkitError):
    """The user's folder is needed, and the system knows none."""


class NoLocks(DistillkitError):
    """A folder lies on a file system that cannot keep processes apart."""


class MissingExtra(DistillkitError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str):
        super().__init__(f'{package} is not installed; run: pip install "distillkit[{extra}]"')
