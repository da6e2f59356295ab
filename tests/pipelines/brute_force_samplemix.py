"""SampleMix all at once, in float64 and straight from the paper: what the score stage must equal.

arXiv 2503.01506, sections 2.3 and 2.4; Soft Cap Sampling of FLYT and Gumbel top-k of QuRating in
their closed forms. It reads the files of a finished workdir, holds all of the pool, and shares no
code with the stage but the hash that stands for chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.kernels.hashing import uniform_keys, unit_interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Bins of the range that ranks are taken in.
BINS = 65_536

#: Rows that are compared with all centroids at once.
_ROWS = 2_048


@dataclasses.dataclass(frozen=True)
class Settings:
    """The parameters of ``score.weight`` and ``score.diversity``, with the paper's defaults."""

    method: str = "samplemix"
    alpha: float = 0.8
    tau: float = 0.2
    normalise: str = "minmax"
    within: str = "pool"
    max_epochs: float | None = None
    exact: str = "documents"
    penalty: float = 0.15
    budget: int | None = None
    seed: int = 0
    distance: str = "euclidean"
    separation: str = "mean"
    compactness: str = "cluster"


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Columns of all documents, part after part in the order of their names."""

    ids: pa.Array
    tokens: Ints
    domain: Ints
    quality: Floats
    vectors: Floats
    centroids: Floats
    scores: pa.Table

    @property
    def pool(self) -> npt.NDArray[np.bool_]:
        """Documents that can be drawn."""
        return self.domain >= 0


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the stage should find, for all documents: zero outside the pool.

    Attributes:
        diversity: d(x).
        weight: exp(p / tau) over its mean.
        expected: c(x).
        copies: whole copies.
        doubt: how much c(x) may change until ``copies`` does, infinite outside the pool.
    """

    diversity: Floats
    weight: Floats
    expected: Floats
    copies: Ints
    doubt: Floats


def read_workdir(root: Path) -> Workdir:
    """Read what a finished score stage read and wrote."""
    documents = _table(root / "documents", ["id", "n_tokens"])
    scores = _table(root / "scores")
    return Workdir(
        ids=documents.column("id").combine_chunks(),
        tokens=documents.column("n_tokens").to_numpy().astype(np.int64),
        domain=_table(root / "assignments", ["domain"]).column(0).to_numpy().astype(np.int64),
        quality=scores.column("quality").to_numpy().astype(np.float64),
        vectors=np.concatenate([_vectors(p) for p in sorted((root / "embeddings").glob("part-*"))]),
        centroids=np.load(root / "_stages/diversity/centroids.npy").astype(np.float64),
        scores=scores,
    )


def _table(folder: Path, columns: list[str] | None = None) -> pa.Table:
    paths = sorted(folder.glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])


def _vectors(path: Path) -> Floats:
    """Vectors of a part as they are stored."""
    with pa.ipc.open_file(str(path)) as reader:
        table = reader.read_all()
    column = table.column(0).combine_chunks()
    found: Floats = column.flatten().to_numpy().astype(np.float64)
    found = found.reshape(len(column), column.type.list_size)
    if "scale" in table.column_names:
        found *= table.column("scale").to_numpy()[:, None]
    return found


def brute_force(work: Workdir, settings: Settings) -> Expected:
    """Diversity, weight and copies of every document."""
    pool = work.pool
    diversity, weight, expected, v = (np.zeros(len(pool)) for _ in range(4))
    diversity[pool] = diversities(_unit(work.vectors[pool]), _unit(work.centroids), settings)
    if settings.within == "domain":
        groups = [work.domain == number for number in np.unique(work.domain[pool])]
    else:
        groups = [pool]
    share = 1.0 if settings.budget is None else settings.budget / work.tokens[pool].sum()
    for group in groups:
        weight[group] = weights(work.quality[group], diversity[group], settings)
        expected[group] = expected_copies(weight[group], work.tokens[group], share, settings)
    v[pool] = unit_interval(uniform_keys(work.ids.filter(pa.array(pool)), settings.seed, "draw"))
    whole = np.floor(expected)
    rest = expected - whole
    more = v < rest if settings.method == "gumbel" else v >= 1 - rest
    flip = rest if settings.method == "gumbel" else 1 - rest
    copies = (whole + (more & pool)).astype(np.int64)
    return Expected(diversity, weight, expected, copies, np.where(pool, abs(v - flip), np.inf))


def diversities(unit: Floats, centroids: Floats, settings: Settings) -> Floats:
    """d(x) = compactness of its cluster * separation of its centroid (section 2.3).

    Args:
        unit: unit vectors of the pool ``[n, d]``.
        centroids: unit centroids ``[k, d]``.
        settings: which distance, and to what.
    """
    cluster = np.concatenate(
        [
            _squared(unit[start : start + _ROWS], centroids).argmin(axis=1)
            for start in range(0, len(unit), _ROWS)
        ]
    )
    own = _distance(((unit - centroids[cluster]) ** 2).sum(axis=1), settings.distance)
    if settings.compactness == "cluster":
        members = np.bincount(cluster, minlength=len(centroids))
        compactness = np.bincount(cluster, own, len(centroids)) / np.maximum(members, 1)
        own = compactness[cluster]
    found: Floats = own * separations(centroids, np.unique(cluster), settings)[cluster]
    return found


def separations(centroids: Floats, held: Ints, settings: Settings) -> Floats:
    """Distance of each centroid to those of other clusters that hold documents; 1 if none does."""
    result = np.ones(len(centroids))
    for number in held if len(held) > 1 else []:
        others = centroids[held[held != number]]
        away = _distance(((others - centroids[number]) ** 2).sum(axis=1), settings.distance)
        result[number] = away.min() if settings.separation == "nearest" else away.mean()
    return result


def weights(quality: Floats, diversity: Floats, settings: Settings) -> Floats:
    """exp(p / tau) over its mean, p = alpha d + (1 - alpha) q with both in 0 to 1 (section 2.4)."""
    scaled = _ranks if settings.normalise == "rank" else _minmax
    p = settings.alpha * scaled(diversity) + (1 - settings.alpha) * scaled(quality)
    found: Floats = np.exp((p - p.max()) / settings.tau)
    found /= found.mean()
    return found


def expected_copies(weight: Floats, tokens: Ints, share: float, settings: Settings) -> Floats:
    """c(x): in proportion to the weight, or growing more slowly, and adding up to the target.

    Args:
        weight: weights of a group, with mean one.
        tokens: tokens of its documents.
        share: the budget over the tokens of the pool.
        settings: what the sum is of, and how it grows.
    """
    size = tokens.astype(np.float64) if settings.exact == "tokens" else np.ones(len(weight))
    target = share * size.sum()
    cap = np.inf if settings.max_epochs is None else settings.max_epochs
    if cap <= share:  # not even the cap for all documents reaches the target
        return np.full(len(weight), cap)
    if settings.method == "soft_cap":
        penalty = settings.penalty

        def grow(scale: float) -> Floats:
            return np.asarray(np.minimum(np.log1p(penalty * scale * weight) / penalty, cap))
    elif settings.method == "gumbel":
        epochs = np.floor(share)

        def grow(scale: float) -> Floats:
            return np.asarray(np.minimum(epochs - np.expm1(-scale * weight), cap))
    else:

        def grow(scale: float) -> Floats:
            return np.minimum(scale * weight, cap)

    return grow(_solve(lambda scale: float((grow(scale) * size).sum()) - target))


def _solve(excess: Callable[[float], float]) -> float:
    """Where a growing function of a positive number is zero, to the last bit."""
    low = high = 1.0
    while excess(low) > 0:
        low /= 2
    while excess(high) < 0 and high < 1e300:  # weights that are zero never suffice
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        if excess(middle) < 0:
            low = middle
        else:
            high = middle
    return high


def _minmax(values: Floats) -> Floats:
    least, most = values.min(), values.max()
    if most == least:
        return np.full(len(values), 0.5)
    found: Floats = (values - least) / (most - least)
    return found


def _ranks(values: Floats) -> Floats:
    """Share of the values in lower bins, and half of those in the same."""
    place = np.minimum((_minmax(values) * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    below = np.cumsum(counts) - counts
    found: Floats = (below + counts / 2)[place] / len(values)
    return found


def _unit(vectors: Floats) -> Floats:
    found: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def _squared(rows: Floats, centroids: Floats) -> Floats:
    """Squared distances of unit rows to unit centroids."""
    found: Floats = 2 - 2 * (rows @ centroids.T)
    return found


def _distance(squared: Floats, kind: str) -> Floats:
    """Distance of unit vectors from its square."""
    return np.asarray(squared / 2 if kind == "cosine" else np.sqrt(squared), np.float64)


def settings_of(changes: dict[str, Any], **others: Any) -> Settings:
    """The defaults with keys of ``score.weight`` and other settings changed."""
    return dataclasses.replace(Settings(), **changes, **others)
