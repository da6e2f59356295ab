"""The strategies by the name that a recipe gives them."""

from __future__ import annotations

from mixcurate.kernels.strategies import (
    centrality,
    entropy,
    mig,
    mixture_file,
    natural,
    repetition,
    samplemix,
    smart,
    target,
    temperature,
    topics,
    uniform,
    unimax,
)
from mixcurate.kernels.strategies.facts import Strategy

#: ``explicit`` is ``natural`` with targets.
STRATEGIES: dict[str, Strategy] = {
    "natural": natural.shares,
    "explicit": natural.shares,
    "uniform": uniform.shares,
    "temperature": temperature.shares,
    "unimax": unimax.shares,
    "repetition": repetition.shares,
    "file": mixture_file.shares,
    "entropy": entropy.shares,
    "topics": topics.shares,
    "samplemix": samplemix.shares,
    "centrality": centrality.shares,
    "mig": mig.shares,
    "smart": smart.shares,
    "target": target.shares,
}
