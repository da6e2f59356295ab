"""A sample judged by a language model: what it costs, and what is kept when something fails."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mixcurate.errors import JobError, RequestError
from mixcurate.models import chat
from pipelines.annotate import annotate, render
from pipelines.job import Job
from tests.fake_endpoint import FakeEndpoint, Script, Sent, answer, error, fake_endpoint
from tests.pipelines.annotating import (
    accounted,
    by_hash,
    judge,
    lines,
    make_job,
    number_of,
    rejects,
    rule,
    text_of,
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    monkeypatch.setattr(chat, "_FIRST_WAIT", 0.01)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with fake_endpoint(judge) as endpoint:
        yield endpoint


@pytest.fixture
def job(fake: FakeEndpoint, tmp_path: Path) -> Callable[..., Job]:
    return functools.partial(make_job, fake.url, tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


def test_equal_texts_are_asked_once(fake, job, out):
    done = annotate(job(texts=[text_of(number % 4) for number in range(12)]), str(out))
    assert len(fake.requests) == 4
    assert {line["id"]: line["total"] for line in lines(out)} == {
        f"doc-{number}": sum(rule(number % 4).values()) for number in range(12)
    }
    assert done.labelled == 12


def test_another_run_pays_for_nothing(fake, job, out):
    annotate(job(), str(out))
    first = out.read_bytes()
    done = annotate(job(), str(out))
    assert (done.requests, done.tokens, done.from_cache) == (0, 0, 40)
    assert out.read_bytes() == first
    assert len(fake.requests) == 40


def until(count: int, failure: Sent) -> tuple[Script, list[int]]:
    """Judges so many documents and then fails; and the list of those that it has judged."""
    turns, judged = itertools.count(), list[int]()

    def script(body: dict[str, Any]) -> Sent:
        if next(turns) >= count:
            return failure
        judged.append(number_of(body))
        return judge(body)

    return script, judged


def test_a_killed_run_goes_on_with_what_is_missing(fake, job, out):
    fake.script, judged = until(15, error(401))  # ends everything at once, as a kill does
    with pytest.raises(RequestError, match="401"):
        annotate(job(concurrency=2), str(out))
    assert len(judged) == 15
    assert not out.exists()
    fake.script = judge
    fake.requests.clear()
    done = annotate(job(concurrency=2), str(out))
    assert {number_of(body) for body in fake.requests} == set(range(40)) - set(judged)
    assert (done.labelled, done.requests, done.from_cache) == (40, 25, 15)


def test_a_wrong_key_ends_it_and_keeps_an_older_file(fake, job, out):
    out.write_text("older\n")
    fake.script = lambda body: error(401)
    with pytest.raises(RequestError, match="OPENAI_API_KEY"):
        annotate(job(), str(out))
    assert out.read_text() == "older\n"


def test_a_busy_endpoint_is_waited_for(fake, job, out):
    def busy(body: dict[str, Any]) -> Sent:
        first = sum(1 for other in fake.requests if other == body) == 1
        failure = {0: error(429, retry_after="0.05"), 1: error(500)}.get(number_of(body) % 8)
        return failure if first and failure else judge(body)

    fake.script = busy
    done = annotate(job(), str(out))
    assert (done.labelled, done.requests) == (40, 50)


def test_an_answer_that_comes_too_late_is_asked_for_again(fake, job, out):
    def slow(body: dict[str, Any]) -> Sent:
        first = sum(1 for other in fake.requests if other == body) == 1
        return dataclasses.replace(judge(body), delay=1.5 if first else 0.0)

    fake.script = slow
    done = annotate(job(texts=[text_of(3)], timeout_seconds=0.5, retries=9), str(out))
    assert done.labelled == 1
    assert done.requests >= 2


def test_an_endpoint_that_goes_down_ends_it_and_what_it_said_is_kept(fake, job, out):
    fake.script, judged = until(10, error(503))
    with pytest.raises(JobError, match="Answers so far are kept"):
        annotate(job(), str(out))
    assert not out.exists()
    fake.script = judge
    done = annotate(job(), str(out))
    assert (done.labelled, done.from_cache) == (40, len(judged))


@pytest.mark.parametrize(
    ("nonsense", "reason", "detail"),
    [
        (answer("I'm sorry, but I can't judge that."), "unusable_answer", "no JSON object"),
        (answer(json.dumps(rule(3) | {"reasoning": 3})), "unusable_answer", "reasoning is 3"),
        (answer("", finish="length"), "no_answer", "the answer is empty (length)"),
        (error(400, "content policy"), "no_answer", "status 400: content policy"),
        (error(500), "no_answer", "status 500"),
    ],
)
def test_a_document_without_a_usable_answer_is_listed(fake, job, out, nonsense, reason, detail):
    fake.script = lambda body: nonsense if number_of(body) == 3 else judge(body)
    done = annotate(job(), str(out))
    assert (done.labelled, done.rejected, done.left) == (39, {reason: 1}, 0)
    [row] = rejects(out)
    assert (row["id"], row["reason"]) == ("doc-3", reason)
    assert detail in row["detail"]
    text = (nonsense.body.get("choices") or [{"message": {}}])[0]["message"].get("content")
    assert row["excerpt"] == (text or "")[:200]
    assert "doc-3" not in {line["id"] for line in lines(out)}
    asked = [(b["seed"], b["temperature"]) for b in fake.requests if number_of(b) == 3]
    assert sorted(set(asked)) == [(0, 0.0), (1, 0.7), (2, 0.7)]
    assert done.rejected_path == f"{out}.rejected"
    assert "1 documents without a usable answer" in render(done, str(out))


def test_a_second_answer_may_be_of_use_and_the_list_of_before_goes(fake, job, out):
    fake.script = lambda body: judge(body) if number_of(body) % 9 else answer("?")
    assert annotate(job(), str(out)).rejected == {"unusable_answer": 5}
    fake.script = lambda body: judge(body) if number_of(body) % 9 or body["seed"] else answer("?")
    done = annotate(job(folder="other"), str(out))
    assert (done.labelled, done.requests) == (40, 45)
    assert {line["id"]: line["total"] for line in lines(out)}["doc-9"] == sum(rule(9).values())
    assert not out.with_name("labels.jsonl.rejected").exists()


def test_a_model_that_cannot_do_it_is_not_asked_for_all(fake, job, out):
    out.write_text("older\n")
    fake.script = lambda body: answer("The document is good.\x1b[31m")
    with pytest.raises(JobError, match=r"no JSON object.*The document is good\.\\x1b"):
        annotate(job(texts=[text_of(n) for n in range(400)], documents=400), str(out))
    assert 50 <= len(fake.requests) <= 64
    assert out.read_text() == "older\n"
    assert len(rejects(out)) == len(fake.requests)


@pytest.mark.parametrize("thinks", [answer("", finish="length"), answer("<think>Hm, it is")])
def test_a_model_that_does_not_end_to_think_is_told(fake, job, out, thinks):
    fake.script = lambda body: thinks
    with pytest.raises(JobError, match="switch that off"):
        annotate(job(texts=[text_of(0)]), str(out))


def test_a_spent_budget_leaves_the_rest_and_another_run_goes_on(fake, job, out):
    done = annotate(job(max_requests=12, concurrency=1), str(out))
    assert (done.labelled, done.left, done.requests, done.rejected) == (12, 28, 12, {})
    assert [line["id"] for line in lines(out)] == [f"doc-{n}" for n in by_hash(40, 12)]
    assert "28 documents are left" in render(done, str(out))
    done = annotate(job(max_requests=1_000), str(out))
    assert (done.labelled, done.left, done.requests, done.from_cache) == (40, 0, 28, 12)
    assert len(fake.requests) == 40
    assert "left" not in render(done, str(out))


@pytest.mark.parametrize("limits", [{"max_requests": 45}, {"max_tokens": 8_000}])
def test_whatever_the_budget_every_document_is_accounted_for(fake, job, out, limits):
    fake.script = lambda body: answer(
        json.dumps(rule(number_of(body))) if number_of(body) % 2 else "?", prompt=300
    )
    done = annotate(job(**limits), str(out))
    assert accounted(done)
    assert done.left > 0
    assert done.labelled == len(lines(out)) > 0
    assert done.requests <= limits.get("max_requests", 1_000)
    assert done.tokens <= limits.get("max_tokens", 10**9)


def test_a_budget_for_nothing_is_an_error(fake, job, out):
    with pytest.raises(JobError, match="max_tokens, now 1,000"):
        annotate(job(max_tokens=1_000), str(out))
    assert fake.requests == []
    assert not out.exists()
