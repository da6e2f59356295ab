"""Facts of made-up units, for the tests of strategies."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from mixcurate.kernels.strategies.facts import Facts

#: Tokens of units, some of which may have none.
TOKENS = st.lists(st.integers(0, 10**12), min_size=1, max_size=10).filter(any)


def facts(
    tokens: list[int],
    *,
    budget: int | None = None,
    max_epochs: float = 4.0,
    names: list[str] | None = None,
    **more: Any,
) -> Facts:
    """Of units a, b, c, ... with these tokens, in documents of 100 tokens."""
    return Facts(
        names=names or [chr(ord("a") + unit) for unit in range(len(tokens))],
        documents=np.array([-(-n // 100) for n in tokens], np.int64),
        tokens=np.array(tokens, np.int64),
        budget=budget or sum(tokens),
        max_epochs=max_epochs,
        **more,
    )
