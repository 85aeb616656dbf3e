"""The rate of false alarms that a user asks for."""

from numbers import Real

__all__ = ["MAX_TARGET_FPR", "check_target"]

# Cells of larger p-values are scored and forgotten: nobody asks for more false alarms than this.
MAX_TARGET_FPR = 0.25


def check_target(target_fpr: object, name: str = "target_fpr") -> None:
    """Raise where it is no share of known cells that can be asked for.

    Raises
    ------
    ValueError
        If it is not a number in (0, 0.25].
    """
    is_number = isinstance(target_fpr, Real) and not isinstance(target_fpr, bool)
    if not is_number or not 0 < target_fpr <= MAX_TARGET_FPR:  # type: ignore[operator]
        raise ValueError(
            f"{name} is a share of cells, more than 0 and at most {MAX_TARGET_FPR}; got {target_fpr!r}. Ask for 0.05, "
            "say: one known cell in twenty."
        )
