"""Parameters of the mixture: what the corpus is asked to be."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mixcurate.params import Params

#: What shares can be of. A cluster is the fine cell that domains are merged from.
Level = Literal["domain", "source", "licence", "language", "tier", "cluster"]

_LEVEL = {"type": "string", "enum": list(get_args(Level))}

#: One level may stand without brackets.
Levels = Annotated[
    list[Level],
    Field(min_length=1, max_length=4),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _LEVEL}, _LEVEL]}),
]

StrategyName = Literal[
    "natural",
    "uniform",
    "temperature",
    "unimax",
    "repetition",
    "explicit",
    "file",
    "entropy",
    "topics",
    "samplemix",
    "centrality",
    "smart",
    "mig",
    "target",
]


class DomainTarget(Params):
    """What one domain (source, licence, ...) is asked for: exactly one of three words."""

    proportion: float | None = Field(None, ge=0, le=1)
    """Share of the output's tokens, also in a tree."""
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


class TierParams(Params):
    """Quality tiers, for `by: tier`: tier 0 is the lowest."""

    cuts: list[float] = Field(default=[0.25, 0.5, 0.75], min_length=1, max_length=99)
    """Where one tier ends and the next begins, ascending."""
    scale: Literal["rank", "value"] = "rank"
    """rank: cuts are shares of the pool's tokens; value: cuts are values of `quality`."""

    @field_validator("cuts")
    @classmethod
    def _ascending(cls, cuts: list[float]) -> list[float]:
        if sorted(set(cuts)) != cuts or cuts[0] <= 0 or cuts[-1] >= 1:
            raise ValueError("cuts must ascend and lie between 0 and 1")
        return cuts


class MixtureFileParams(Params):
    """Shares that another tool has found, for `file`."""

    path: str
    """olmix CSV, RegMix YAML, Megatron `weight prefix` lines, or DoReMi JSON; relative to the
    recipe."""
    format: Literal["auto", "olmix", "regmix", "megatron", "doremi"] = "auto"
    """auto goes by the ending: .csv, .yaml, .txt or .sh, .json."""
    run: str | None = None
    """Which row of an olmix CSV, by its run or name; null wants the file to have one."""
    names: dict[str, str] = Field(default={})
    """Domain of ours for a name in the file, where they differ: `{pile_cc: "web pages"}`."""


class EntropyParams(Params):
    """Shares from the entropy of the text, for `entropy` (BiMix, arXiv 2405.14908)."""

    kind: Literal["shannon", "joint", "conditional", "von_neumann"] = "conditional"
    """Of single tokens, of pairs, of a token given the one before, or of the embeddings."""
    base: float = Field(2.718281828459045, gt=1)
    """Shares are proportional to base ** entropy; the paper's is e, with entropies in nats."""


class TopicsParams(Params):
    """Up and down, topic by topic, for `topics` (DataWeave, arXiv 2502.16802)."""

    factors: dict[str, float] = Field(default={})
    """What a domain's natural share is multiplied by: `{science: 2, adult: 0.1}`."""
    scores: dict[str, float] = Field(default={})
    """Downstream score of a run with that domain up-weighted, where factors are not known."""
    baseline: float | None = None
    """Score of the run without any; needed with scores."""
    gamma: float = Field(0.5, gt=0)
    """With scores the factor is 1 + gamma * (score - baseline) / their standard deviation."""
    bounds: tuple[float, float] = (0.25, 4.0)
    """Least and greatest factor that scores may lead to."""

    @model_validator(mode="after")
    def _consistent(self) -> TopicsParams:
        if bool(self.scores) != (self.baseline is not None):
            raise ValueError("'scores' and 'baseline' go together")
        if not 0 < self.bounds[0] <= 1 <= self.bounds[1]:
            raise ValueError(f"'bounds' {list(self.bounds)} must enclose 1 and be positive")
        if any(factor < 0 for factor in self.factors.values()):
            raise ValueError("'factors' must not be negative")
        return self


class CentralityParams(Params):
    """Central and peripheral hosts of the web graph (WebGraphMix, arXiv 2606.11499)."""

    scores: str | None = None
    """Table of hosts with their centrality (CSV, TSV or Parquet; may be compressed)."""
    links: str | None = None
    """Instead: table of links between hosts, from which it is computed."""
    column: str | None = None
    """Column of scores to use; null takes the first with numbers."""
    measure: Literal["pagerank", "betweenness", "katz", "eigenvector", "degree"] = "betweenness"
    """What is computed from links, taken as undirected."""
    central_share: float = Field(0.5, ge=0, le=1)
    """Share of the tokens from the most central documents; the rest is from the least central."""
    with_quality: bool = False
    """Rank the central ones by centrality x quality, the others by quality / centrality."""


class SmartParams(Params):
    """Submodular budgets over clusters (SMART, arXiv 2403.08370)."""

    function: Literal["graph_cut", "facility_location", "log_determinant"] = "graph_cut"
    """What is maximised greedily; its gains become the budgets."""
    penalty: float = Field(0.4, ge=0)
    """lambda of graph_cut and log_determinant: how much likeness counts against."""


class MigParams(Params):
    """Information over a graph of clusters (MIG, arXiv 2504.13835)."""

    threshold: float = Field(0.9, ge=-1, le=1)
    """Cosine of two clusters from which on information passes between them."""
    propagation: float = Field(1.0, ge=0)
    """How much of it passes."""
    power: float = Field(0.8, gt=0, le=1)
    """Information of what has been collected: x ** power."""


class TargetParams(Params):
    """More of what is like a small set of texts, for `target`."""

    path: str | None = None
    """Texts that the corpus shall be like: a file of any input format; required for `target`."""
    text_field: str = "text"
    """Field that holds the text."""
    method: Literal["rds", "importance", "transport"] = "importance"
    """rds: documents with the greatest cosine to any of the texts (RDS+, arXiv 2503.01807);
    importance: clusters by target / pool density (DSIR, arXiv 2302.03169); transport: clusters by
    optimal transport from the texts."""
    smoothing: float = Field(0.05, gt=0, le=1)
    """importance and transport: part of the shares that stays natural."""
    regularisation: float = Field(0.05, gt=0)
    """transport: strength of the entropy term (Sinkhorn), in units of the cost's mean."""


class RepetitionParams(Params):
    """What a repeated token is worth, in the plan's table and for `repetition`."""

    law: Literal["data_constrained", "half_life"] = "data_constrained"
    """data_constrained: D' = U + U R* (1 - exp(-R / R*)) (arXiv 2305.16264); half_life: an epoch is
    worth half of what it was worth `half_life` epochs before (arXiv 2404.07177)."""
    r_star: float = Field(15.387756, gt=0)
    """R* of data_constrained: repeats after which the rest adds 1/e of their worth."""
    half_life: float = Field(4.0, gt=0)
    """Epochs."""


class PhaseParams(Params):
    """One stretch of the training with a mixture of its own."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    """Name of the phase, such as `anneal`."""
    share: float = Field(gt=0, le=1)
    """Share of budget_tokens; those of all phases add up to one."""
    strategy: StrategyName | None = None
    """Instead of the mixture's."""
    temperature: float | None = Field(None, gt=0)
    """Instead of the mixture's."""
    targets: dict[int | str, DomainTarget] = Field(default={})
    """Instead of the mixture's, of the same levels."""


class MixtureParams(Params):
    """The mixture over domains, its size, and how often a document may be seen."""

    strategy: StrategyName = "natural"
    """How the shares of domains are found, as far as targets do not say them."""
    by: Levels = Field(default=["domain"])
    """What shares are of: `domain`, `source`, `licence`, `language`, `tier`, `cluster`, or several,
    outermost first: `[source, domain]`."""
    temperature: float = Field(2.0, gt=0)
    """For `temperature`: shares are proportional to tokens ** (1 / temperature)."""
    budget_tokens: PositiveInt | None = None
    """Tokens of the corpus; null takes everything that is left, once."""
    max_epochs: float = Field(4.0, gt=0)
    """Most often that a domain's documents may be repeated on average."""
    min_share: float = Field(0.0, ge=0, lt=1)
    """Least share of a domain that has documents and no target of its own."""
    on_short: Literal["fail", "renormalize", "repeat"] = "fail"
    """When a domain is too small: stop; cap it and give the rest to the others; or repeat its
    documents more often than max_epochs."""
    licences: dict[str, float] = Field(default={})
    """How likely documents of a class of licences, or of one licence, come before others of their
    domain in each epoch: `{permissive: 1000, non_commercial: 0.1}`; others have 1."""
    domains: dict[int | str, DomainTarget] = Field(default={})
    """Targets by domain number or name; the others share the rest as the strategy says."""
    targets: dict[int | str, DomainTarget] = Field(default={})
    """Targets when `by` is not just the domain; in a tree a key is a path from the outermost
    level on: `books`, or `books:sports`."""
    tiers: TierParams = TierParams()
    """What `by: tier` means."""
    holdout: float = Field(0.0, ge=0, le=0.5)
    """Share of the documents, by hash, that is kept out of every shard and written beside."""
    subsample: float = Field(1.0, gt=0, le=1)
    """Share of the documents, by hash, that there are at all: a proxy corpus of this share of the
    budget repeats as much as the whole one does (arXiv 2606.07597)."""
    split_documents: bool = False
    """Cut the last document of each domain, so that its target is met to the token."""
    phases: list[PhaseParams] = Field(default=[], max_length=15)
    """A schedule of mixtures, each in shards of its own, one after another."""
    repetition: RepetitionParams = RepetitionParams()
    """What repeats are worth."""
    file: MixtureFileParams | None = None
    """For `file`."""
    entropy: EntropyParams = EntropyParams()
    """For `entropy`."""
    topics: TopicsParams = TopicsParams()
    """For `topics`."""
    centrality: CentralityParams = CentralityParams()
    """For `centrality`."""
    smart: SmartParams = SmartParams()
    """For `smart`."""
    mig: MigParams = MigParams()
    """For `mig`."""
    target: TargetParams = TargetParams()
    """For `target`."""

    @property
    def asked(self) -> dict[int | str, DomainTarget]:
        """The targets, under whichever of their two names."""
        return self.domains or self.targets

    @property
    def strategies(self) -> set[str]:
        """All that are used, in any phase."""
        return {phase.strategy or self.strategy for phase in self.phases} or {self.strategy}

    @model_validator(mode="after")
    def _targets(self) -> MixtureParams:
        if self.domains and (self.targets or self.by != ["domain"]):
            raise ValueError("'domains' stands alone; with 'by' give all targets in 'targets'")
        if len(set(self.by)) < len(self.by):
            raise ValueError("'by' names a level twice")
        phases = [(phase.strategy, phase.targets) for phase in self.phases] or [(None, {})]
        for strategy, asked in phases:
            if (strategy or self.strategy) == "explicit" and not (asked or self.asked):
                raise ValueError("strategy 'explicit' needs 'domains', or 'by' and 'targets'")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> MixtureParams:
        needs = {"uniform", "temperature", "unimax", "repetition", "topics", "entropy", "file"}
        needs |= {"centrality", "smart", "mig", "target"}
        if self.budget_tokens is None:
            for name in sorted(self.strategies & needs):
                raise ValueError(f"strategy {name!r} needs 'budget_tokens'")
            if self.phases:
                raise ValueError("'phases' need 'budget_tokens'")
        if self.phases and abs(sum(phase.share for phase in self.phases) - 1) > 1e-9:
            total = sum(phase.share for phase in self.phases)
            raise ValueError(f"the shares of 'phases' add up to {total:g}; they must add up to 1")
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names) or "holdout" in names:
            raise ValueError("'phases' need names of their own, and none may be 'holdout'")
        return self

    @model_validator(mode="after")
    def _inputs(self) -> MixtureParams:
        if "file" in self.strategies and self.file is None:
            raise ValueError("strategy 'file' needs 'file'")
        if "topics" in self.strategies and not (self.topics.factors or self.topics.scores):
            raise ValueError("strategy 'topics' needs 'topics.factors' or 'topics.scores'")
        if "target" in self.strategies and self.target.path is None:
            raise ValueError("strategy 'target' needs 'target.path'")
        if "centrality" in self.strategies and not (
            bool(self.centrality.scores) ^ bool(self.centrality.links)
        ):
            raise ValueError("strategy 'centrality' needs one of its 'scores' and 'links'")
        return self

    @field_validator("licences")
    @classmethod
    def _factors(cls, licences: dict[str, float]) -> dict[str, float]:
        for name, factor in licences.items():
            if not 1e-4 <= factor <= 1e4:
                raise ValueError(f"{name!r} has {factor:g}; give a number from 0.0001 to 10,000")
        return licences
