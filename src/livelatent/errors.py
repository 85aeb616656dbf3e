"""The exception tree: every error a user can meet, by what went wrong.

Messages say what was wanted, what came, where, and what to do.
"""


class LivelatentError(Exception):
    """Anything livelatent refuses to do."""


class SourceError(LivelatentError, ValueError):
    """A source file is truncated, corrupt, or no AnnData."""


class CountsError(LivelatentError, ValueError):
    """Values are not what was asked for: negative, NaN, infinite, or logs where counts are needed."""


class GeneMismatchError(LivelatentError, ValueError):
    """Gene names are missing, duplicated, or of another species than the model's."""


class ColumnError(LivelatentError, KeyError):
    """An obs column that was named is absent, holds nothing, or can't bear its name."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would put a sentence in quotes.
        return str(self.args[0]) if self.args else ""


class StoreError(LivelatentError, OSError):
    """A store on disk is damaged, of another version, or not ours."""


class StoreExistsError(StoreError):
    """A store stands where a new one was to be written."""


class StoreBusyError(StoreError):
    """Another process is writing."""


class DiskSpaceError(LivelatentError, OSError):
    """The target's file system has no room for what is to be written."""


class NoPermissionError(LivelatentError, PermissionError):
    """The system does not let us read or write there."""


class MemoryLimitError(LivelatentError, ValueError):
    """A memory limit below the minimum that can work, or none at all."""


class ModelError(LivelatentError, ValueError):
    """A model folder is damaged or of another version."""


class DeviceError(LivelatentError, ValueError):
    """A device that is none, or that torch can't use here."""


class ResumeError(LivelatentError, ValueError):
    """A run can't go on: its rows, buffer or sources have changed."""


class SettingError(LivelatentError, ValueError):
    """A learning rate or weight that can't be set in mid-run: out of range, or of a term that the stage has not."""


class LabelError(LivelatentError, ValueError):
    """A label or prototype can't be used as asked: too few cells, or a name that is none."""


class NothingToSeeError(LivelatentError, TypeError):
    """A view was asked for of something that it can't show, or was told what is not its to be told."""


class UndefinedMetricError(LivelatentError, ValueError):
    """A metric has no value here: it compares batches, labels or methods, and there are not two of them."""


class CalibrationError(LivelatentError, ValueError):
    """A novelty score would promise a rate of false alarms that its calibration cells can't keep."""
