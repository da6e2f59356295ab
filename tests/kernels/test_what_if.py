"""What other settings would draw, against the same computed document by document."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import what_if
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.score_sketch import BINS
from mixcurate.kernels.what_if import REPEATS, Draw, Outcome, Plane

DOMAINS = 5
GRID = [(alpha, tau) for alpha in (0.0, 0.2, 0.5, 0.8, 1.0) for tau in (0.05, 0.1, 0.2, 0.5, 1.0)]
RULES = [
    CopyRule(),
    CopyRule(cap=2.5),
    CopyRule("soft_cap", penalty=0.15),
    CopyRule("gumbel"),
]


class Documents:
    """Random documents: domains differ in quality, quality goes with length."""

    def __init__(self, n: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.domain = random.integers(0, DOMAINS, n)
        self.quality = random.beta(2 + self.domain, 3)
        self.diversity = random.beta(3, 2 + self.domain)
        self.tokens = np.ceil(np.exp(random.normal(5 + self.quality, 1))).astype(np.int64)

    def plane(self) -> Plane:
        bins = [np.minimum((u * BINS).astype(np.int64), BINS - 1) for u in self.scores]
        key = (self.domain * BINS + bins[0]) * BINS + bins[1]
        keys, where, counts = np.unique(key, return_inverse=True, return_counts=True)
        tokens = np.zeros(len(keys), np.int64)
        np.add.at(tokens, where, self.tokens)
        return Plane(keys // BINS**2, keys // BINS % BINS, keys % BINS, counts, tokens)

    @property
    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        return self.quality, self.diversity

    def copies(self, draw: Draw, alpha: float, tau: float) -> np.ndarray:
        """Expected copies of each document; the scale by halving an interval."""
        weight = np.exp((alpha * self.diversity + (1 - alpha) * self.quality) / tau)
        size = self.tokens if draw.exact == "tokens" else np.ones(len(weight))
        if draw.within == "pool":
            return _solve(draw.rule, weight, size, draw.target)
        result = np.zeros(len(weight))
        for domain in np.unique(self.domain):
            mine = self.domain == domain
            target = draw.target * size[mine].sum() / size.sum()
            result[mine] = _solve(draw.rule, weight[mine], size[mine], target)
        return result


def _solve(rule: CopyRule, weight: np.ndarray, size: np.ndarray, target: float) -> np.ndarray:
    whole = math.floor(target / size.sum()) if rule.method == "gumbel" else 0

    def at(scale: float) -> np.ndarray:
        scaled = scale * weight / weight.max()
        if rule.method == "gumbel":
            return whole + 1 - np.exp(-scaled)
        if rule.method == "soft_cap":
            scaled = np.log1p(rule.penalty * scaled) / rule.penalty
        return np.minimum(scaled, rule.cap)

    low, high = -30.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if at(math.exp(middle)) @ size > target else (middle, high)
    return at(math.exp(high))


def exact(documents: Documents, copies: np.ndarray) -> dict[str, float]:
    """The numbers of an ``Outcome`` as they are defined, a document at a time."""
    rows = list(zip(copies.tolist(), documents.tokens.tolist(), strict=True))
    drawn = copies * documents.tokens
    chances = [(math.floor(c), c - math.floor(c)) for c, _ in rows]

    def worth(times: int) -> float:
        extra = max(times - 1, 0)
        return min(times, 1) + REPEATS * (1 - math.exp(-extra / REPEATS))

    return {
        "copies": sum(copies),
        "tokens": sum(drawn),
        "never": sum(1 - rest for whole, rest in chances if whole == 0) / len(rows),
        "repeated": sum(1 if whole > 1 else rest for whole, rest in chances if whole) / len(rows),
        "quality": np.average(documents.quality, weights=drawn),
        "diversity": np.average(documents.diversity, weights=drawn),
        "largest": max(copies),
        "epochs": sum(drawn) / sum(min(c, 1) * t for c, t in rows),
        "sample_size": sum(copies) ** 2 / sum(copies**2) / len(rows),
        "effective_tokens": sum(
            t * ((1 - rest) * worth(whole) + rest * worth(whole + 1))
            for (whole, rest), (_, t) in zip(chances, rows, strict=True)
        ),
    }


def draws(documents: Documents, rule: CopyRule) -> list[Draw]:
    n, tokens = len(documents.tokens), float(documents.tokens.sum())
    return [
        Draw(rule, target=0.4 * n),
        Draw(rule, target=1.3 * n, within="domain"),
        Draw(rule, target=1.7 * tokens, exact="tokens"),
    ]


@pytest.mark.parametrize("rule", RULES, ids=["samplemix", "capped", "soft_cap", "gumbel"])
def test_sums_are_near_those_of_the_documents(rule: CopyRule) -> None:
    documents = Documents(6_000, seed=3)
    plane = documents.plane()
    for draw in draws(documents, rule):
        for outcome in what_if.what_if(plane, draw, GRID[::4], DOMAINS):
            copies = documents.copies(draw, outcome.alpha, outcome.tau)
            expected = exact(documents, copies)
            # sums over documents are ten times nearer than the bound on one document
            near = outcome.resolution / 10
            for name, value in expected.items():
                slack = outcome.resolution if name == "largest" else near
                assert getattr(outcome, name) == pytest.approx(value, rel=slack, abs=2e-3), name
            drawn = np.bincount(documents.domain, copies * documents.tokens, DOMAINS)
            assert outcome.shares == pytest.approx(drawn / drawn.sum(), rel=near, abs=2e-3)


@given(
    n=st.integers(1, 400),
    seed=st.integers(0, 1_000),
    alpha=st.floats(0, 1),
    tau=st.floats(0.03, 3),
    rule=st.sampled_from(RULES),
    which=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_no_document_is_farther_off_than_the_resolution(
    n: int, seed: int, alpha: float, tau: float, rule: CopyRule, which: int
) -> None:
    documents = Documents(n, seed)
    plane, draw = documents.plane(), draws(documents, rule)[which]
    found = what_if.expected_copies(plane, draw, alpha, tau)
    key = (plane.domain * BINS + plane.quality_bin) * BINS + plane.diversity_bin
    bins = [np.minimum((u * BINS).astype(np.int64), BINS - 1) for u in documents.scores]
    mine = found[np.searchsorted(key, (documents.domain * BINS + bins[0]) * BINS + bins[1])]
    copies = documents.copies(draw, alpha, tau)
    factor = (1 + what_if.resolution(tau)) * (1 + 1e-6)
    assert (mine <= copies * factor + 1e-12).all()
    assert (mine >= copies / factor - 1e-12).all()


@pytest.mark.parametrize("rule", RULES, ids=["samplemix", "capped", "soft_cap", "gumbel"])
def test_the_target_is_met(rule: CopyRule) -> None:
    documents = Documents(3_000, seed=1)
    plane = documents.plane()
    by_documents, by_domain, by_tokens = draws(documents, rule)
    for outcome in what_if.what_if(plane, by_documents, GRID, DOMAINS):
        assert outcome.copies == pytest.approx(1_200)
        assert outcome.shares.sum() == pytest.approx(1)
    for outcome in what_if.what_if(plane, by_tokens, GRID, DOMAINS):
        assert outcome.tokens == pytest.approx(1.7 * documents.tokens.sum())
    copies = what_if.expected_copies(plane, by_domain, 0.8, 0.1)
    for domain in range(DOMAINS):
        mine = plane.domain == domain
        assert copies[mine] @ plane.documents[mine] == pytest.approx(
            1.3 * plane.documents[mine].sum()
        )


def test_a_bound_that_is_too_low_holds_for_all() -> None:
    documents = Documents(500, seed=2)
    draw = Draw(CopyRule(cap=1.5), target=2_000)
    [outcome] = what_if.what_if(documents.plane(), draw, [(0.8, 0.2)], DOMAINS)
    assert outcome.largest == 1.5
    assert outcome.copies == pytest.approx(750)
    assert outcome.never == 0
    assert outcome.repeated == pytest.approx(0.5)


def test_all_alike() -> None:
    plane = Plane(np.zeros(1, int), np.array([7]), np.array([9]), np.array([10]), np.array([50]))
    [outcome] = what_if.what_if(plane, Draw(CopyRule(), target=20), [(0.5, 0.2)], 2)
    assert outcome == Outcome(
        alpha=0.5,
        tau=0.2,
        copies=pytest.approx(20),
        tokens=pytest.approx(100),
        shares=pytest.approx([1, 0]),
        never=pytest.approx(0),
        repeated=pytest.approx(1),
        quality=pytest.approx(7.5 / 64),
        diversity=pytest.approx(9.5 / 64),
        largest=pytest.approx(2),
        epochs=pytest.approx(2),
        sample_size=pytest.approx(1),
        effective_tokens=pytest.approx(50 * (1 + REPEATS * (1 - math.exp(-1 / REPEATS)))),
        resolution=math.expm1(1 / 12.8),
    )


def test_four_epochs_are_worth_what_the_paper_says() -> None:
    # their equation 5 with the constant that they fitted: R = 3 repeats of each token
    assert what_if.effective(np.array([4.0]))[0] / 4 == pytest.approx(0.931, abs=5e-4)
    assert what_if.effective(np.array([0.0, 0.25, 1.0])).tolist() == [0.0, 0.25, 1.0]
    assert what_if.effective(np.array([1e9]))[0] == pytest.approx(1 + REPEATS)


def test_settings_may_be_extreme() -> None:
    documents = Documents(200, seed=4)
    for rule in RULES:
        for draw in draws(documents, rule):
            for outcome in what_if.what_if(documents.plane(), draw, [(0, 0.001), (1, 100)], 9):
                assert len(outcome.shares) == 9
                numbers = [outcome.copies, outcome.epochs, outcome.sample_size, outcome.largest]
                assert np.isfinite(numbers).all()
