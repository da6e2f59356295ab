from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels.mixture import MixtureFileParams, MixtureParams
from mixcurate.kernels.strategies import mixture_file
from mixcurate.kernels.strategies.facts import Shares
from tests.kernels.strategies.units import facts

NAMES = ["pile_cc", "wikipedia", "arxiv", "books:sports"]


def shares(
    given_shares: dict[str, float], tokens: list[int] | None = None, on_short: str = "fail"
) -> Shares:
    params = MixtureParams(
        strategy="file", budget_tokens=1, file=MixtureFileParams(path="x.csv"), on_short=on_short
    )
    tokens = tokens or [10, 20, 30, 40]
    return mixture_file.shares(facts(tokens, names=NAMES, given=given_shares), params)


def test_the_files_shares_by_name_or_number():
    found = shares({"books:sports": 0.1, "arxiv": 0.2, "0": 0.3, "wikipedia": 0.4})
    assert found.shares.tolist() == pytest.approx([0.3, 0.4, 0.2, 0.1])
    assert found.notes == []


def test_what_the_file_does_not_name_is_left_out_with_a_note():
    found = shares({"pile_cc": 3, "arxiv": 1})
    assert found.shares.tolist() == pytest.approx([0.75, 0, 0.25, 0])
    assert found.notes == [
        "mixture.file: the weights add up to 4; they were scaled to 1",
        "mixture.file: without a share, so left out: 'wikipedia', 'books:sports'",
    ]


def test_a_name_that_is_no_unit_is_refused_unless_it_has_nothing():
    with pytest.raises(PlanError, match=r"no 'pilecc' among 4 units; did you mean 'pile_cc'\?"):
        shares({"pilecc": 0.5, "arxiv": 0.5})
    assert shares({"freelaw": 0.0, "arxiv": 1.0}).shares.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("name", ["4", "-1", "²", "99999999999999999999", ""])
def test_a_number_that_is_no_unit_is_refused(name):
    with pytest.raises(PlanError, match="among 4 units"):
        shares({name: 1.0})


def test_two_names_of_one_unit_are_refused():
    with pytest.raises(PlanError, match=r"names unit 2 \('arxiv'\) a second time"):
        shares({"arxiv": 0.5, "2": 0.5})


def test_a_share_of_a_unit_without_documents_needs_a_word():
    with pytest.raises(PlanError, match="no documents are left for 'arxiv'; take it out"):
        shares({"arxiv": 0.5, "wikipedia": 0.5}, tokens=[1, 1, 0, 1])
    found = shares({"arxiv": 0.5, "wikipedia": 0.5}, tokens=[1, 1, 0, 1], on_short="renormalize")
    assert found.shares.tolist() == [0, 1, 0, 0]
    assert "mixture.file: no documents, so the others have its share: 'arxiv'" in found.notes
    with pytest.raises(PlanError, match="it gives no share to any unit that has documents"):
        shares({"arxiv": 1.0}, tokens=[1, 1, 0, 1], on_short="renormalize")


def test_a_long_list_of_names_is_cut():
    names = [f"unit {i}" for i in range(30)]
    params = MixtureParams(strategy="file", budget_tokens=1, file=MixtureFileParams(path="x.csv"))
    have = facts([1] * 30, names=names, given={"unit 0": 1.0})
    (note,) = mixture_file.shares(have, params).notes
    assert note.endswith("'unit 10' and 19 more")


@given(st.lists(st.floats(0, 1e6), min_size=4, max_size=4).filter(lambda v: sum(v) > 1e-3))
@settings(max_examples=40, deadline=None)
def test_any_weights_are_shares_in_proportion(weights):
    found = shares(dict(zip(NAMES, weights, strict=True))).shares
    assert found.tolist() == pytest.approx([weight / sum(weights) for weight in weights])
