"""A map of vectors: two dimensions in which near vectors stay near.

t-SNE (van der Maaten & Hinton, JMLR 9, 2008) of the leading principal components, by scikit-learn's
Barnes-Hut form, started from the first two components, so that the large shape is that of the data
and not of chance (Kobak & Berens, Nature Communications 10:5416, 2019).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Most vectors that are laid out together: t-SNE takes a second of one core for a few hundred.
_FITTED = 4_000

#: Neighbours among those whose median place a further vector takes.
_NEIGHBOURS = 5

_COMPONENTS = 50
_ITERATIONS = 500
_PERPLEXITY = 30.0

#: Fewer vectors have no neighbourhoods to keep; their principal components are the map.
_FEWEST = 8

#: Coarse but enough: half the time of scikit-learn's 0.5 with the same neighbours kept.
_ANGLE = 0.8

#: Vectors placed at once: their distances to the fitted ones are a matrix.
_CHUNK = 2_048


def project(vectors: Float32Array, seed: int) -> Float32Array:
    """Places of vectors on a map.

    The first 4,000 are laid out by t-SNE; each further one is put at the median place of its five
    nearest among them, as openTSNE starts new points (Poličar, Stražar & Zupan, Machine Learning
    112, 2023), so that give them in random order. One thread does it all: t-SNE amplifies the
    rounding of a sum that was cut over threads until another map comes out. For the same reason
    another processor or library version may draw another map of the same neighbourhoods.

    Args:
        vectors: float32 ``[n, d]``, finite.
        seed: of the small noise that parts vectors which start at the same place.

    Returns:
        float32 ``[n, 2]`` within [-1, 1], one scale for both axes; equal vectors that are all
        there is are at the origin.
    """
    n = len(vectors)
    if n < 2 or (vectors == vectors[0]).all():
        return np.zeros((n, 2), np.float32)
    with threadpool_limits(limits=1):
        reduced = _reduced(vectors)
        if not reduced.any():
            return np.zeros((n, 2), np.float32)
        fitted = reduced[:_FITTED]
        places = _padded(fitted[:, :2]) if len(fitted) < _FEWEST else _layout(fitted, seed)
        if n > len(fitted):
            places = np.concatenate([places, _placed(reduced[len(fitted) :], fitted, places)])
    return _scaled(places)


def _reduced(vectors: Float32Array) -> Float64Array:
    """Leading principal components of the first vectors, and all vectors in them."""
    values = np.asarray(vectors, np.float64)
    n, d = values[:_FITTED].shape
    solver = "covariance_eigh" if d <= n else "full"  # the smaller matrix
    model = PCA(min(_COMPONENTS, n, d), svd_solver=solver).fit(values[:_FITTED])
    reduced: Float64Array = model.transform(values)
    spread = np.abs(reduced).max()
    # of equal vectors only rounding is left, which is no direction
    if spread <= 1e-6 * np.abs(values).max():
        return np.zeros_like(reduced)
    reduced /= spread
    return reduced


def _padded(places: Float64Array) -> Float64Array:
    """Two columns, also of data that has one component."""
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def _layout(points: Float64Array, seed: int) -> Float64Array:
    """t-SNE of a few thousand points."""
    start = _padded(points[:, :2])
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    noise = np.random.default_rng(seed).standard_normal(start.shape)
    model = TSNE(
        perplexity=min(_PERPLEXITY, (len(points) - 1) / 3),
        init=(start + noise * 1e-6).astype(np.float32),
        max_iter=_ITERATIONS,
        angle=_ANGLE,
        random_state=0,  # nothing is drawn: the start is given
        n_jobs=1,
    )
    places: Float64Array = model.fit_transform(points.astype(np.float32)).astype(np.float64)
    return places


def _placed(points: Float64Array, fitted: Float64Array, places: Float64Array) -> Float64Array:
    """Median place of each point's nearest fitted points."""
    found = np.empty((len(points), 2))
    squares = np.square(fitted).sum(axis=1)
    for start in range(0, len(points), _CHUNK):
        chunk = points[start : start + _CHUNK]
        distance = squares - 2 * chunk @ fitted.T  # but for the point's own square: same order
        nearest = np.argpartition(distance, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        found[start : start + len(chunk)] = np.median(places[nearest], axis=1)
    return found


def _scaled(places: Float64Array) -> Float32Array:
    """Centred, and within [-1, 1]."""
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    scaled: Float32Array = np.clip((places - (low + high) / 2) / half, -1, 1).astype(np.float32)
    return scaled
