from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.mixture import EntropyParams, MixtureParams
from mixcurate.kernels.strategies import entropy
from tests.kernels.strategies.units import facts

#: Shares of SlimPajama's domains by conditional entropy (BiMix, arXiv 2405.14908, table 5): ArXiv,
#: Books, C4, CommonCrawl, GitHub, StackExchange, Wikipedia.
PUBLISHED = [0.0710, 0.1669, 0.2079, 0.2175, 0.0902, 0.1177, 0.1287]


def asked(base: float = math.e) -> MixtureParams:
    return MixtureParams(strategy="entropy", budget_tokens=1, entropy=EntropyParams(base=base))


def test_entropies_behind_the_papers_shares_give_them_back():
    """Shares fix entropies up to a constant; ArXiv's is set to 2 nats, so Books' is 2.855."""
    entropies = 2 + np.log(np.array(PUBLISHED) / PUBLISHED[0])
    assert entropies[1] == pytest.approx(2.855, abs=1e-3)
    have = facts([5, 1, 9_000, 40, 6, 7, 8], entropies=entropies)
    found = entropy.shares(have, asked()).shares
    np.testing.assert_allclose(found, np.array(PUBLISHED) / sum(PUBLISHED), rtol=1e-9)
    np.testing.assert_allclose(found, PUBLISHED, atol=1e-4)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(0, 900)), min_size=1, max_size=8).filter(
        lambda units: any(n for n, _ in units)
    ),
    st.floats(1.1, 20),
)
@settings(max_examples=60, deadline=None)
def test_the_ratio_of_two_shares_is_the_base_to_their_difference(units, base):
    tokens, entropies = [n for n, _ in units], [h for _, h in units]
    found = entropy.shares(facts(tokens, entropies=np.array(entropies)), asked(base)).shares
    assert found.sum() == pytest.approx(1)
    assert (found[np.array(tokens) == 0] == 0).all()
    top = max((h, i) for i, (n, h) in enumerate(units) if n)[1]
    for i, (n, h) in enumerate(units):
        if n:
            expected = math.exp((h - entropies[top]) * math.log(base))
            assert found[i] / found[top] == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_units_too_small_to_be_measured_are_told():
    have = facts([10**6, 0, 5_000], entropies=np.array([3.0, 0.0, 2.0]))
    (note,) = entropy.shares(have, asked()).notes
    assert note.startswith("entropy: 1 of 2 units have fewer than 131,072 tokens: their entropy")
    have = facts([10**6, 10**7], entropies=np.array([3.0, 2.0]))
    assert entropy.shares(have, asked()).notes == []
