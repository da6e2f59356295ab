from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies import centrality, target
from mixcurate.kernels.strategies.facts import Facts

UNITS = np.eye(4, dtype=np.float32)


def facts(tokens: list[int], *, texts: object = None, counts: object = None, **more) -> Facts:
    return Facts(
        names=more.pop("names", [f"unit {i}" for i in range(len(tokens))]),
        documents=np.array(tokens) // 10,
        tokens=np.array(tokens, np.int64),
        budget=more.pop("budget", 1_000),
        max_epochs=1.0,
        centroids=UNITS[: len(tokens)],
        target_vectors=None if texts is None else np.array(texts, np.float32),
        target_documents=None if counts is None else np.array(counts, float),
    )


def params(method: str, **more: float) -> MixtureParams:
    about = {"path": "x.jsonl", "method": method, **more}
    return MixtureParams(strategy="target", budget_tokens=1_000, target=about)


def test_importance_is_what_resampling_by_density_ratio_gives() -> None:
    """DSIR: documents are drawn with weight p(target) / p(pool) of their unit, many times."""
    tokens, counts = np.array([6_000, 3_000, 1_000]), np.array([1, 3, 6])
    found = target.shares(facts(tokens.tolist(), counts=counts), params("importance")).shares
    ratio = 0.95 * (counts / counts.sum()) / (tokens / tokens.sum()) + 0.05
    unit_of = np.repeat(np.arange(3), tokens)
    weights = ratio[unit_of] / ratio[unit_of].sum()
    drawn = np.random.default_rng(0).choice(unit_of, 200_000, p=weights)
    np.testing.assert_allclose(found, np.bincount(drawn) / 200_000, atol=0.004)
    np.testing.assert_allclose(found, 0.95 * counts / 10 + 0.05 * tokens / 10_000)


def test_texts_near_an_empty_unit_are_left_out_and_told() -> None:
    result = target.shares(facts([0, 500, 500], counts=[3, 1, 0]), params("importance"))
    np.testing.assert_allclose(result.shares, [0, 0.975, 0.025])
    assert result.notes == ["target: 3 texts are nearest to a unit without documents; left out"]
    with pytest.raises(PlanError, match="method: transport"):
        target.shares(facts([0, 500, 500], counts=[3, 0, 0]), params("importance"))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4), st.floats(0.01, 1), st.data())
@settings(max_examples=50, deadline=None)
def test_shares_add_up_and_leave_nothing_out(counts: list[int], smoothing: float, data) -> None:
    n = len(counts)
    tokens = data.draw(st.lists(st.integers(1, 10_000), min_size=n, max_size=n))
    texts = np.repeat(UNITS[:n], np.array(counts) + 1, axis=0)
    pool = facts(tokens, texts=texts, counts=np.array(counts) + 1)
    for method in ("importance", "transport"):
        found = target.shares(pool, params(method, smoothing=smoothing)).shares
        assert found.sum() == pytest.approx(1)
        assert (found >= smoothing * np.array(tokens) / sum(tokens) * 0.999).all()


def test_transport_shares_a_text_between_two_units_among_them() -> None:
    texts = [[1, 0, 0], [np.sqrt(0.5), np.sqrt(0.5), 0]]
    pool = facts([10_000] * 3, texts=np.array(texts) @ UNITS[:3])
    found = target.shares(pool, params("transport", regularisation=0.02, smoothing=1e-6)).shares
    np.testing.assert_allclose(found, [0.75, 0.25, 0], atol=1e-4)


def test_transport_takes_no_more_of_a_unit_than_it_can_give() -> None:
    texts = [[1, 0, 0, 0]] * 3 + [[0.9, 0.435, 0, 0]]
    pool = facts([300, 900, 900, 0], texts=texts)
    result = target.shares(pool, params("transport", smoothing=0.1))
    assert result.shares[0] == pytest.approx(0.3, abs=1e-6)
    assert result.shares[1] > result.shares[2] + 0.1
    assert result.shares[3] == 0
    assert result.notes == ["target: 1 units give all they have; the rest is from the next ones"]


def test_with_much_entropy_transport_gives_the_natural_shares() -> None:
    pool = facts([1_000, 2_000, 5_000], texts=[[1, 0, 0, 0]])
    found = target.shares(pool, params("transport", regularisation=1e6)).shares
    np.testing.assert_allclose(found, [0.125, 0.25, 0.625], atol=1e-5)


def test_a_budget_of_all_there_is_and_more_is_still_answered() -> None:
    pool = facts([100, 300], texts=[[1, 0, 0, 0]], budget=1_000)
    found = target.shares(pool, params("transport", regularisation=0.01)).shares
    np.testing.assert_allclose(found, [0.95 + 0.05 / 4, 0.05 * 3 / 4], atol=1e-6)


def test_merged_texts_cost_what_they_cost_alone() -> None:
    random = np.random.default_rng(1)
    units, texts = random.normal(size=(5, 6)), random.normal(size=(400, 6))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    whole, alone = target.merged(texts.astype(np.float32), units.astype(np.float32))
    for pairs, most in ((1_999, 20), (10, 5)):
        vectors, mass = target.merged(texts.astype(np.float32), units.astype(np.float32), pairs)
        assert len(vectors) <= most
        assert mass.sum() == pytest.approx(1)
        np.testing.assert_allclose(mass @ vectors, alone @ whole, atol=1e-12)


def test_rds_leaves_shares_as_they_are() -> None:
    assert target.shares(facts([100, 300]), params("rds")).shares.tolist() == [0.25, 0.75]


def central(part: float) -> MixtureParams:
    about = {"scores": "x.csv", "central_share": part}
    return MixtureParams(strategy="centrality", budget_tokens=1_000, centrality=about)


def test_sides_have_the_shares_asked_for() -> None:
    sides = ["peripheral", "central"]
    assert centrality.shares(facts([5, 9], names=sides), central(0.25)).shares.tolist() == [
        0.75,
        0.25,
    ]
    alone = centrality.shares(facts([5], names=["peripheral"]), central(0.25))
    assert alone.shares.tolist() == [1]
    empty = centrality.shares(facts([5, 0], names=sides), central(1.0))
    assert empty.shares.tolist() == [1, 0]
    assert empty.notes == ["centrality: one side has no documents; all are from the other"]
