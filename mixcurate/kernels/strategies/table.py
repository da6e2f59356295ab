"""The strategies by the name that a recipe gives them."""

from __future__ import annotations

from mixcurate.kernels.strategies import natural, samplemix, temperature, uniform
from mixcurate.kernels.strategies.facts import Strategy

#: ``explicit`` is ``natural`` with targets.
STRATEGIES: dict[str, Strategy] = {
    "natural": natural.shares,
    "explicit": natural.shares,
    "uniform": uniform.shares,
    "temperature": temperature.shares,
    "samplemix": samplemix.shares,
}
