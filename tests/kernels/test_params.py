from __future__ import annotations

import pytest
from pydantic import ValidationError

from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.clustering import ClusterParams, MergeParams, PruneParams
from mixcurate.kernels.filters import PRESETS
from mixcurate.kernels.mixture import DomainTarget, MixtureParams


@pytest.mark.parametrize(
    "params", [ClusterParams, MergeParams, PruneParams, MixtureParams, IngestParams]
)
def test_defaults_are_valid_frozen_and_closed(params):
    value = params()
    name = next(iter(params.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, None)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        params.model_validate({"no_such_key": 1})
    assert params.model_validate(value.model_dump()) == value


@pytest.mark.parametrize("cut", [{}, {"domains": None, "distance": 1.5}, {"domains": 3}])
def test_domains_are_cut_one_way(cut):
    merge = MergeParams(**cut)
    assert (merge.domains is None) != (merge.distance is None)


@pytest.mark.parametrize("cut", [{"distance": 1.5}, {"domains": None}])
def test_two_cuts_or_none_are_refused(cut):
    with pytest.raises(ValidationError, match="exactly one of 'domains' and 'distance'"):
        MergeParams(**cut)


@pytest.mark.parametrize(
    "bad",
    [
        {"k": 0},
        {"iterations": 0},
        {"sample_per_cluster": -1},
        {"prune": {"min_quality": 1.5}},
        {"merge": {"domains": 0}},
        {"merge": {"domains": None, "distance": 0}},
        {"merge": {"linkage": "median"}},
        {"topics": {"keywords": 0}},
    ],
)
def test_cluster_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        ClusterParams.model_validate(bad)


def test_steps_can_be_switched_off():
    params = ClusterParams(prune=None, merge=None)
    assert (params.prune, params.merge) == (None, None)
    assert IngestParams(dedup=None, filters=None).dedup is None


@pytest.mark.parametrize("word", [{"proportion": 0}, {"repeat": 0}, {"tokens": 0}, {"repeat": 2.5}])
def test_a_target_is_one_word_and_zero_counts(word):
    assert DomainTarget(**word).model_dump(exclude_none=True) == word


@pytest.mark.parametrize("words", [{}, {"repeat": 1, "tokens": 1}, {"proportion": 0, "repeat": 0}])
def test_a_target_of_no_or_two_words_is_refused(words):
    with pytest.raises(ValidationError, match="exactly one of 'proportion', 'repeat' and 'tokens'"):
        DomainTarget(**words)


@pytest.mark.parametrize(
    "bad", [{"proportion": 1.1}, {"proportion": -0.1}, {"repeat": -1}, {"tokens": -5}]
)
def test_a_target_out_of_range_is_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        DomainTarget(**bad)


ONE = {"domains": {0: {"proportion": 0.5}}}
PHASES = {"budget_tokens": 9}


@pytest.mark.parametrize(
    "good",
    [
        {"strategy": "natural"},
        {"strategy": "samplemix"},
        {"strategy": "uniform", "budget_tokens": 10},
        {"strategy": "temperature", "budget_tokens": 10, "temperature": 5},
        {"strategy": "explicit"} | ONE,
    ],
)
def test_consistent_mixtures_are_accepted(good):
    assert MixtureParams.model_validate(good).strategy == good["strategy"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"strategy": "explicit"}, "strategy 'explicit' needs 'domains'"),
        ({"by": "source"} | ONE, "'domains' stands alone; with 'by' give all targets in 'targets'"),
        (ONE | {"targets": {"a": {"repeat": 1}}}, "'domains' stands alone"),
        ({"by": ["source", "source"]}, "'by' names a level twice"),
        ({"by": []}, "by"),
        ({"strategy": "file", "budget_tokens": 9}, "strategy 'file' needs 'file'"),
        ({"strategy": "topics", "budget_tokens": 9}, "needs 'topics.factors' or 'topics.scores'"),
        ({"strategy": "target", "budget_tokens": 9}, "strategy 'target' needs 'target.path'"),
        ({"strategy": "centrality", "budget_tokens": 9}, "needs one of its 'scores' and 'links'"),
        ({"strategy": "unimax"}, "strategy 'unimax' needs 'budget_tokens'"),
        ({"phases": [{"name": "a", "share": 1}]}, "'phases' need 'budget_tokens'"),
        (
            PHASES | {"phases": [{"name": "a", "share": 0.5}]},
            "add up to 0.5; they must add up to 1",
        ),
        (PHASES | {"phases": [{"name": "a", "share": 0.5}] * 2}, "need names of their own"),
        (PHASES | {"phases": [{"name": "holdout", "share": 1}]}, "none may be 'holdout'"),
        (
            PHASES | {"phases": [{"name": "a", "share": 1, "strategy": "explicit"}]},
            "strategy 'explicit' needs 'domains'",
        ),
        ({"tiers": {"cuts": [0.5, 0.2]}}, "cuts must ascend and lie between 0 and 1"),
        ({"topics": {"scores": {"a": 1}}}, "'scores' and 'baseline' go together"),
        ({"topics": {"factors": {"a": -1}}}, "'factors' must not be negative"),
        ({"topics": {"bounds": [2, 3]}}, "must enclose 1"),
        ({"strategy": "uniform"}, "strategy 'uniform' needs 'budget_tokens'"),
        ({"strategy": "temperature"}, "strategy 'temperature' needs 'budget_tokens'"),
        ({"strategy": "best"}, "strategy"),
        ({"budget_tokens": 0}, "budget_tokens"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"temperature": 0}, "temperature"),
        ({"on_short": "ignore"}, "on_short"),
    ],
)
def test_inconsistent_mixtures_are_refused(bad, message):
    with pytest.raises(ValidationError, match=message):
        MixtureParams.model_validate(bad)


def test_domains_keep_numbers_and_names_apart():
    target = {"tokens": 5}
    params = MixtureParams(strategy="explicit", domains={0: target, "0": target, "sports": target})
    assert list(params.domains) == [0, "0", "sports"]


def test_sizes_are_read_with_their_units():
    params = IngestParams(max_document_bytes="2MiB", part_bytes="1KB", task_bytes=77)
    sizes = (params.max_document_bytes, params.part_bytes, params.task_bytes)
    assert sizes == (2 << 20, 1_000, 77)


def test_every_preset_can_be_asked_for_by_name():
    assert {IngestParams(filters=name).filters for name in PRESETS} == set(PRESETS)


@pytest.mark.parametrize(
    "bad",
    [
        {"min_language_score": 1.5},
        {"filters": "c5"},
        {"part_documents": 0},
        {"max_document_bytes": "many"},
        {"thresholds": {"n_words": [1]}},
        {"thresholds": {"n_words": [1, "x"]}},
        {"dedup": {"near": True}},
    ],
)
def test_ingest_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        IngestParams.model_validate(bad)
