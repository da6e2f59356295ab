"""Base of all parameter classes: frozen, checked, and closed to unknown keys.

Parameters live beside the code that uses them; ``mixcurate.recipe`` only composes them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


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


#: Name of a quality dimension: what follows ``quality_`` in its column.
DimensionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]


class RubricDimension(Params):
    """One question of a rubric."""

    most: PositiveInt = Field(1, le=100)
    """Points that can be had; the least is 0."""
    description: str = Field(min_length=1)
    """What earns them, in words for the language model."""


#: The seven dimensions of SampleMix (arXiv 2503.01506, table 1); the descriptions are our own.
RUBRIC: dict[str, RubricDimension] = {
    "clarity": RubricDimension(
        most=1,
        description="Clarity and accuracy of expression: the language is clear, precise and "
        "grammatical, and what is meant is not ambiguous.",
    ),
    "completeness": RubricDimension(
        most=1,
        description="Completeness and coherence: the text is whole, not cut off, and its parts "
        "follow from one another.",
    ),
    "structure": RubricDimension(
        most=1,
        description="Structure and style: it is well organised, and its style suits its purpose; "
        "no menus, boilerplate or broken layout.",
    ),
    "credibility": RubricDimension(
        most=1,
        description="Accuracy and credibility of content: what it says is right as far as can be "
        "told, and is supported; it does not mislead.",
    ),
    "significance": RubricDimension(
        most=1,
        description="Significance: it says something of value to readers beyond its moment; it is "
        "no advertisement and no chatter.",
    ),
    "knowledge": RubricDimension(
        most=2,
        description="Richness of knowledge: 0 for hardly any, 1 for some facts or know-how, 2 for "
        "much of it, in depth or from several fields.",
    ),
    "reasoning": RubricDimension(
        most=2,
        description="Logic and depth of analysis: 0 for none, 1 for some explanation, 2 for "
        "careful, connected reasoning.",
    ),
}


class AnnotatorParams(EndpointParams):
    """A language model that judges a sample of the documents by a rubric (SampleMix, 2.2)."""

    max_requests: PositiveInt = 3_000
    """No more requests than this in a run; answers from the cache are free."""
    documents: PositiveInt = 2_000
    """Documents that are labelled: those with the smallest hash of seed and id."""
    max_characters: PositiveInt = 6_000
    """Of a document that the model is shown; of a longer one the beginning and the end."""
    rubric: dict[DimensionName, RubricDimension] = Field(RUBRIC, min_length=1)
    """Dimensions and their points; the total is their sum."""


class ClassifierParams(Params):
    """A classifier of texts whose score is a quality dimension."""

    name: DimensionName
    """Name of the dimension."""
    model: str
    """A folder, a fastText file (`.bin`, `.ftz`), or a name on the Hugging Face hub, or there
    `owner/model/file.bin`; a path is relative to the recipe."""
    kind: Literal["auto", "transformers", "fasttext"] = "auto"
    """auto goes by the model: a file is fastText's."""
    revision: str | None = None
    """Commit of a hub model."""
    label: str | int | None = None
    """The class whose probability is the score, by name or number; null takes a model's only
    output, or with several the expected class (0, 1, 2, ...); a fastText model's labels must then
    be numbers."""
    range: tuple[float, float] | None = None
    """Least and greatest score, such as [0, 5]; what is beyond is cut to it. null: 0 to 1 for a
    probability, 0 to the last class for an expected class; a lone output needs it."""
    max_tokens: PositiveInt = 512
    """Of a document that a transformer reads; fastText reads all."""
    batch_tokens: PositiveInt | None = None
    """Tokens in one forward pass, padding included; null takes what suits the device."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs."""
    trust_remote_code: bool = False
    """Run code that comes with a hub model."""
    accelerator: str | None = None
    """Dataflow's accelerator for this step alone, such as
    `type:nvidia-l4;count:1;install-nvidia-driver`."""

    @model_validator(mode="after")
    def _a_range(self) -> ClassifierParams:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"'range' {list(self.range)} must go from a lower to a higher number")
        return self
