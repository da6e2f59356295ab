from __future__ import annotations

import pytest

from mixcurate.errors import JobError
from mixcurate.io.workdir import Success
from mixcurate.kernels.cleaning import IngestParams
from pipelines.accounting import check_drop, fill_tokens, idle_steps


def ingested(rejected: dict[str, int], documents: int = 1_000, **details: object) -> Success:
    return Success(
        fingerprint="",
        parts=[],
        documents_in=documents,
        documents_out=documents - sum(rejected.values()),
        tokens=0,
        rejected=rejected,
        seconds=0.0,
        details=details,
    )


@pytest.mark.parametrize("allowed", [None, 0.6, 1.0])
def test_what_is_allowed_to_be_dropped_passes(allowed):
    check_drop(ingested({"language": 500, "empty": 100}), allowed)


def test_a_job_without_records_passes():
    check_drop(ingested({}, 0), 0.0)


def test_a_filter_that_eats_too_much_stops_the_job_with_every_reason():
    with pytest.raises(JobError) as caught:
        check_drop(ingested({"empty": 100, "filter_n_words": 501}), 0.6)
    assert str(caught.value).splitlines()[:3] == [
        "ingest dropped 601 of 1,000 records (60.10%); ingest.max_drop allows 60.00%:",
        "   50.10%  filter_n_words (501)",
        "   10.00%  empty (100)",
    ]
    assert caught.value.exit_code == 1


def test_tokens_are_estimated_only_where_they_were_not_counted():
    success = Success(
        fingerprint="",
        parts=[],
        documents_in=3,
        documents_out=1,
        tokens=200,
        rejected={},
        seconds=0.0,
        rejected_sizes={"language": [400, 0], "near_duplicate": [100, 30], "truncated": [0, 0]},
    )
    assert fill_tokens(success, 1_000) == {
        "language": [400, 80],
        "near_duplicate": [100, 30],
        "truncated": [0, 0],
    }
    assert fill_tokens(success, 0)["language"] == [400, 0]


ASKED = IngestParams.model_validate(
    {
        "languages": ["en"],
        "filters": "gopher",
        "boilerplate": ["short"],
        "pii": {"emails": "mask"},
        "dedup": {"exact": True, "url": True},
    }
)


def test_steps_that_were_asked_for_and_did_nothing_are_named():
    assert idle_steps(ASKED, ingested({})) == [
        "languages",
        "filters",
        "boilerplate",
        "pii",
        "dedup.exact",
        "dedup.url",
    ]


def test_steps_that_dropped_or_changed_something_are_not():
    rejected = {"language": 1, "filter_n_words": 1, "exact_duplicate": 2, "duplicate_url": 1}
    assert idle_steps(ASKED, ingested(rejected, changed={"boilerplate": 3, "pii": 1})) == []


def test_defaults_and_few_documents_are_no_reason_to_warn():
    assert idle_steps(IngestParams(), ingested({})) == []
    assert idle_steps(ASKED, ingested({}, documents=99)) == []
