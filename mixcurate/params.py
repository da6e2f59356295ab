"""Base of all parameter classes: frozen, checked, and closed to unknown keys.

Parameters live beside the code that uses them; ``mixcurate.recipe`` only composes them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """A frozen group of parameters; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
