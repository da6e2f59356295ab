"""What repeated tokens are worth, in tokens that are seen once.

Two published laws. A unit of ``unique`` tokens that is seen for ``epochs`` epochs is worth ``D'``
tokens, at most ``unique * epochs`` and the same as these up to one epoch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.mixture import RepetitionParams

Float64Array = npt.NDArray[np.float64]


def effective_tokens(
    unique: Float64Array, epochs: Float64Array, params: RepetitionParams
) -> Float64Array:
    """Tokens without a repeat that are worth as much as ``unique * epochs`` tokens with repeats.

    ``data_constrained``: U + U R* (1 - exp(-R / R*)) with R = epochs - 1 repeats (Muennighoff and
    others, "Scaling data-constrained language models", arXiv 2305.16264, section 3).
    ``half_life``: epoch k is worth U 0.5 ** ((k - 1) / half_life), an epoch that is not finished
    pro rata (the utility of repeats of "Scaling laws for data filtering", arXiv 2404.07177, taken
    as a worth of tokens).

    Args:
        unique: float64 ``[n]``, tokens that there are.
        epochs: float64 ``[n]``, how often they are seen; below 1 a part of them once.
        params: the law.

    Returns:
        float64 ``[n]``, in tokens. A unit without tokens has none.
    """
    fresh = np.minimum(epochs, 1.0)
    if params.law == "data_constrained":
        repeats = np.maximum(epochs - 1.0, 0.0)
        worth = fresh - params.r_star * np.expm1(-repeats / params.r_star)
    else:
        decay = np.log(0.5) / params.half_life
        whole = np.floor(epochs)
        ended = np.expm1(decay * whole) / np.expm1(decay)  # sum of a geometric series
        worth = ended + (epochs - whole) * np.exp(decay * whole)
    effective: Float64Array = np.where(unique > 0, unique * worth, 0.0)
    return effective


def marginal_value(epochs: Float64Array, params: RepetitionParams) -> Float64Array:
    """What the next token is worth after so many epochs: the slope of ``effective_tokens``.

    Args:
        epochs: float64 ``[n]``.
        params: the law.

    Returns:
        float64 ``[n]`` in (0, 1]: 1 in the first epoch, and never more later.
    """
    slope: Float64Array = np.exp(log_marginal_value(epochs, params))
    return slope


def log_marginal_value(epochs: Float64Array, params: RepetitionParams) -> Float64Array:
    """The natural logarithm of ``marginal_value``, also where that is too small for a float."""
    if params.law == "data_constrained":
        log_slope: Float64Array = -np.maximum(epochs - 1.0, 0.0) / params.r_star
    else:
        log_slope = np.log(0.5) / params.half_life * np.floor(epochs)
    return log_slope
