"""Base of all parameter classes: frozen, checked, and closed to unknown keys.

Parameters live beside the code that uses them; ``mixcurate.recipe`` only composes them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class Params(BaseModel):
    """A frozen group of parameters; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EndpointParams(Params):
    """A language model behind an OpenAI-compatible endpoint, and what it may cost."""

    endpoint: str = Field(pattern=r"^https?://")
    """Base URL, such as http://localhost:8000/v1."""
    model: str
    """Name of the model at the endpoint."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; the key itself never stands in a recipe."""
    max_requests: PositiveInt = 2_000
    """No more requests than this in a run; answers from the cache are free."""
    max_tokens: PositiveInt = 5_000_000
    """No more tokens than this in a run, of prompts and answers together."""
    concurrency: PositiveInt = 4
    """Requests under way at once."""
    timeout_seconds: float = Field(60, gt=0)
    """An answer that takes longer is asked for again."""
    retries: int = Field(5, ge=0)
    """How often a request that failed is repeated: timeouts, 429 and 5xx."""
