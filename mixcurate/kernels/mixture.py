"""Parameters of the mixture: what the corpus is asked to be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from mixcurate.params import Params


class DomainTarget(Params):
    """What one domain is asked for: exactly one of three words."""

    proportion: float | None = Field(None, ge=0, le=1)
    """Share of the output's tokens."""
    repeat: float | None = Field(None, ge=0)
    """Epochs: how often its documents are seen."""
    tokens: int | None = Field(None, ge=0)
    """Absolute number of tokens."""

    @model_validator(mode="after")
    def _one_word(self) -> DomainTarget:
        given = [v for v in (self.proportion, self.repeat, self.tokens) if v is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of 'proportion', 'repeat' and 'tokens'")
        return self


class MixtureParams(Params):
    """The mixture over domains, its size, and how often a document may be seen."""

    strategy: Literal["natural", "uniform", "temperature", "explicit", "samplemix"] = "natural"
    """How the shares of domains are found."""
    temperature: float = Field(2.0, gt=0)
    """For `temperature`: shares are proportional to tokens ** (1 / temperature)."""
    budget_tokens: PositiveInt | None = None
    """Tokens of the corpus; null takes everything that is left, once."""
    max_epochs: float = Field(4.0, gt=0)
    """Most often that a domain's documents may be repeated on average."""
    on_short: Literal["fail", "renormalize"] = "fail"
    """When a domain is too small: stop, or cap it and give the rest to the others."""
    licences: dict[str, float] = Field(default={})
    """How likely documents of a class of licences, or of one licence, come before others of their
    domain in each epoch: `{permissive: 1000, non_commercial: 0.1}`; others have 1."""
    domains: dict[int | str, DomainTarget] = Field(default={})
    """For `explicit`: targets by domain number or name; the others share the rest naturally."""

    @model_validator(mode="after")
    def _consistent(self) -> MixtureParams:
        if self.strategy == "explicit" and not self.domains:
            raise ValueError("strategy 'explicit' needs 'domains'")
        if self.strategy != "explicit" and self.domains:
            raise ValueError(f"'domains' is for strategy 'explicit', not {self.strategy!r}")
        if self.budget_tokens is None and self.strategy in {"uniform", "temperature"}:
            raise ValueError(f"strategy {self.strategy!r} needs 'budget_tokens'")
        return self

    @field_validator("licences")
    @classmethod
    def _factors(cls, licences: dict[str, float]) -> dict[str, float]:
        for name, factor in licences.items():
            if not 1e-4 <= factor <= 1e4:
                raise ValueError(f"{name!r} has {factor:g}; give a number from 0.0001 to 10,000")
        return licences
