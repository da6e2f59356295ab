"""Soft Cap Sampling (FLYT) as it is done step by step, against the closed form of soft_cap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.allocation import Amounts, CopyRule, Scale, find_scale

Floats = npt.NDArray[np.float64]

POOL = 300


def scores(spread: float) -> Floats:
    """Logits of a small pool, rising."""
    return np.sort(np.random.default_rng(1).normal(size=POOL) * spread)


def one_after_another(
    logits: Floats, draws: int, batch: int, penalty: float, repeats: int = 50
) -> Floats:
    """Mean counts of the procedure: a batch from the softmax without replacement (by Gumbel noise),
    then ``penalty`` less for what was drawn, and so on."""
    random = np.random.default_rng(7)
    now = np.tile(logits, (repeats, 1))
    for _ in range(draws // batch):
        drawn = np.argpartition(-now - random.gumbel(size=now.shape), batch - 1)[:, :batch]
        np.put_along_axis(now, drawn, np.take_along_axis(now, drawn, 1) - penalty, 1)
    counts: Floats = ((logits - now) / penalty).mean(axis=0)
    return counts


def closed_form(logits: Floats, draws: int, penalty: float) -> Floats:
    """Expected copies that add up to ``draws``."""
    weight = np.exp(logits - logits.max())
    weight /= weight.mean()
    rule = CopyRule("soft_cap", penalty)
    scale = find_scale(rule, Amounts(weight, np.ones(len(weight))), float(draws), "documents")
    return rule.expected(weight, scale)


def by_tenths(counts: Floats) -> Floats:
    """Copies of the tenths of the pool, from low to high scores."""
    return counts.reshape(10, -1).sum(axis=1)


@pytest.mark.parametrize("spread", [1.0, 2.5])
@pytest.mark.parametrize("penalty", [0.15, 1.0])
def test_small_batches_draw_what_the_closed_form_says(spread: float, penalty: float) -> None:
    logits, draws, batch = scores(spread), 4 * POOL, 4
    found = one_after_another(logits, draws, batch, penalty)
    expected = closed_form(logits, draws, penalty)
    assert found.sum() == pytest.approx(draws)
    assert expected.sum() == pytest.approx(draws)
    np.testing.assert_allclose(by_tenths(found), by_tenths(expected), rtol=0.02, atol=3)
    assert found[-1] == pytest.approx(expected[-1], rel=0.03)


def test_the_closed_form_ends_where_a_document_would_be_in_every_batch() -> None:
    """A batch holds a document once: no count exceeds their number, however high the score."""
    logits, draws, penalty = scores(1.5), POOL, 0.15
    expected = closed_form(logits, draws, penalty)
    far = {}
    for batch in (3, 15, 60):
        found = one_after_another(logits, draws, batch, penalty)
        assert found.max() <= draws // batch + 1e-9
        far[batch] = np.abs(by_tenths(found) - by_tenths(expected)).sum() / draws
    assert expected.max() == pytest.approx(15.4, abs=0.1)
    assert far[3] < 0.02  # 100 batches
    assert 0.02 < far[15] < 0.1  # 20, hardly more than the copies of the first document
    assert far[60] > 0.2  # 5


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-8, 8), min_size=1, max_size=40),
    st.floats(0.01, 5),
    st.floats(0.1, 20),
)
def test_rates_are_level_at_the_end(logits: list[float], penalty: float, epochs: float) -> None:
    """The closed form solves dc/ds = w exp(-penalty c): what is left of it tells the same s."""
    values = np.array(logits)
    weight = np.exp(values - values.max())
    rule, target = CopyRule("soft_cap", penalty), epochs * len(values)
    scale = find_scale(rule, Amounts(weight, np.ones(len(weight))), target, "documents")
    copies = rule.expected(weight, scale)
    assert copies.sum() == pytest.approx(target)
    passed = np.expm1(penalty * copies) / (penalty * weight)
    np.testing.assert_allclose(passed, scale.value, rtol=1e-6)


def test_a_penalty_of_nearly_nothing_is_samplemix() -> None:
    weight = np.array([0.1, 0.5, 1.0, 2.4])
    soft, plain = CopyRule("soft_cap", 1e-9), CopyRule("samplemix")
    np.testing.assert_allclose(
        soft.expected(weight, Scale(3.0)), plain.expected(weight, Scale(3.0)), rtol=1e-6
    )
