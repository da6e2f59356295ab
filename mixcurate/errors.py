"""Every exception that mixcurate raises on purpose, as one small tree.

    MixcurateError
    ├── RequestError        the request was wrong: nothing was started      (exit code 2)
    │   ├── RecipeError     a key, value or line of the recipe
    │   ├── InputError      an input path or file that cannot be used at all
    │   ├── RunnerError     a Beam runner or option that is unknown or unsafe
    │   ├── OutputError     a folder that cannot be written or holds something else
    │   └── MissingExtra    an optional package that the request needs
    └── JobError            the work itself failed                          (exit code 1)
        ├── PlanError       the mixture cannot be made from what there is   (exit code 2)
        ├── AccountingError documents in != documents out + rejected
        └── CorpusError     a corpus that differs from its manifest

A message names the offender, shows the numbers and says the fix. Bad *data* never raises: it
becomes one row in ``rejected/``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MixcurateError(Exception):
    """Base of all errors that the command line prints without a traceback."""

    exit_code = 1


class RequestError(MixcurateError):
    """What was asked for cannot be started."""

    exit_code = 2


class RecipeError(RequestError):
    """One or more problems of a recipe, all reported at once."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class InputError(RequestError):
    """An input that matches nothing or cannot be opened."""


class RunnerError(RequestError):
    """A Beam runner or pipeline option that is unknown or known to lose data."""


class OutputError(RequestError):
    """An output folder that cannot be written, or that holds something that is not ours."""


class MissingExtra(RequestError):
    """An optional package is not installed."""

    def __init__(self, what: str, install: str) -> None:
        super().__init__(f"{what} is not installed. Install it with:\n  {install}")


class JobError(MixcurateError):
    """The job ran and failed."""


class PlanError(JobError):
    """The mixture cannot be made from the documents there are."""

    exit_code = 2


class AccountingError(JobError):
    """Documents were lost or invented by a stage."""


class CorpusError(JobError):
    """A corpus does not agree with its manifest."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A ``did you mean`` clause for ``name``, or the list of valid names when none is near."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "valid: " + ", ".join(names) if names else ""
