from __future__ import annotations

import datetime
import email.utils
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mixcurate.errors import JobError, RequestError
from mixcurate.models import chat, chat_endpoint
from mixcurate.models.chat import ChatClient, Message
from mixcurate.params import EndpointParams
from tests.fake_endpoint import FakeEndpoint, Sent, answer, error, fake_endpoint, in_turn

KEY = "sk-very-secret-0123456789"


class Kept(dict[str, bytes]):
    """A cache in memory."""

    def put(self, key: str, data: bytes) -> None:
        self[key] = data


def prompts(*questions: str) -> list[list[Message]]:
    return [[{"role": "user", "content": question}] for question in questions]


def echo(body: dict[str, Any]) -> Sent:
    return answer(f"re: {body['messages'][-1]['content']}")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_FIRST_WAIT", 0.01)
    for name in os.environ.copy():
        if name == "OPENAI_API_KEY" or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with fake_endpoint(echo) as endpoint:
        yield endpoint


@pytest.fixture
def client(fake: FakeEndpoint) -> Callable[..., ChatClient]:
    def make(cache: Kept | None = None, **changes: Any) -> ChatClient:
        params = {"endpoint": fake.url, "model": "m", "timeout_seconds": 5, "retries": 3}
        return ChatClient(EndpointParams(**(params | changes)), cache)

    return make


def test_answers_come_in_the_order_of_their_prompts(fake, client):
    questions = [f"question {number}" for number in range(20)]
    with client() as asked:
        found = asked.ask(prompts(*questions), max_answer_tokens=7, seed=3)
    assert [one.text for one in found] == [f"re: {question}" for question in questions]
    assert {(one.prompt_tokens, one.answer_tokens, one.from_cache) for one in found} == {
        (10, 5, False)
    }
    assert (asked.usage.requests, asked.usage.tokens, asked.usage.answers) == (20, 300, 20)
    wanted = {"model": "m", "max_tokens": 7, "temperature": 0, "seed": 3}
    assert fake.requests[0].items() >= wanted.items()
    assert set(fake.paths) == {"/v1/chat/completions"}


def test_so_many_requests_are_under_way_at_once(fake, client):
    lock, now, most = threading.Lock(), [0], [0]

    def script(body: dict[str, Any]) -> Sent:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return echo(body)

    fake.script = script
    client(concurrency=3).ask(prompts(*map(str, range(12))), max_answer_tokens=5)
    assert most[0] == 3


def test_equal_prompts_are_sent_once(fake, client):
    found = client().ask(prompts("a", "b", "a"), max_answer_tokens=5)
    assert [one.text for one in found] == ["re: a", "re: b", "re: a"]
    assert len(fake.requests) == 2


def test_a_cached_answer_costs_nothing_and_survives_the_client(fake, client):
    cache = Kept()
    client(cache).ask(prompts("a"), max_answer_tokens=5)
    asked = client(cache, max_requests=1)
    found = asked.ask(prompts("a", "b"), max_answer_tokens=5)
    assert [(one.text, one.from_cache) for one in found] == [("re: a", True), ("re: b", False)]
    assert found[0].prompt_tokens == 10
    assert len(fake.requests) == 2
    assert (asked.usage.requests, asked.usage.from_cache, asked.usage.answers) == (1, 1, 2)


@pytest.mark.parametrize("change", [{"model": "other"}, {"max_answer_tokens": 9}, {"seed": 1}])
def test_another_question_is_not_the_cached_one(fake, client, change):
    cache = Kept()
    client(cache).ask(prompts("a"), max_answer_tokens=5)
    model = change.pop("model", "m")
    found = client(cache, model=model).ask(prompts("a"), **({"max_answer_tokens": 5} | change))
    assert not found[0].from_cache


def test_a_damaged_cache_entry_is_asked_for_again(fake, client):
    cache = Kept()
    client(cache).ask(prompts("a"), max_answer_tokens=5)
    for data in (b"", b"{", b"[]", b'{"text": 3}', b"\xff"):
        cache.update(dict.fromkeys(cache, data))
        assert client(cache).ask(prompts("a"), max_answer_tokens=5)[0].text == "re: a"


def test_answers_before_a_crash_are_kept(fake, client):
    cache = Kept()

    def script(body: dict[str, Any]) -> Sent:
        return echo(body) if len(fake.requests) <= 3 else error(401)

    fake.script = script
    with pytest.raises(RequestError, match="401"):
        client(cache, concurrency=1).ask(prompts(*"abcdef"), max_answer_tokens=5)
    fake.script = echo
    found = client(cache).ask(prompts(*"abcdef"), max_answer_tokens=5)
    assert [one.from_cache for one in found] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    "bad",
    [
        error(500),
        error(503),
        error(429),
        Sent(b"<html>not JSON"),
        Sent(b""),
        Sent({"choices": []}),
        Sent({"choices": [{}]}),
        Sent([1, 2]),
        Sent({"choices": [{"message": {"content": 3}}]}),
        Sent(b"[" * 100_000),
    ],
)
def test_what_fails_once_is_asked_again(fake, client, bad):
    fake.script = in_turn(bad, answer("good"))
    asked = client()
    assert asked.ask(prompts("a"), max_answer_tokens=5)[0].text == "good"
    assert asked.usage.requests == len(fake.requests) == 2


def test_a_slow_answer_is_asked_for_again(fake, client):
    fake.script = in_turn(Sent(b"", delay=0.5), answer("good"))
    assert client(timeout_seconds=0.1).ask(prompts("a"), max_answer_tokens=5)[0].text == "good"


def test_a_huge_body_is_not_read_to_its_end(fake, client, monkeypatch):
    monkeypatch.setattr(chat_endpoint, "MAX_BODY", 100_000)
    fake.script = in_turn(Sent(b" " * 1_000_000, repeat=300), answer("good"))
    assert client().ask(prompts("a"), max_answer_tokens=5)[0].text == "good"
    assert fake.bytes_sent < 50_000_000  # what the system buffers on the way


def test_compressed_bodies_are_not_unpacked(fake, client):
    fake.script = in_turn(Sent(b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"}), answer("x"))
    assert client().ask(prompts("a"), max_answer_tokens=5)[0].text == "x"
    assert fake.headers[0]["Accept-Encoding"] == "identity"


def test_retry_after_is_waited_for(fake, client):
    fake.script = in_turn(error(429, Retry_After="0.4"), answer("good"))
    client().ask(prompts("a"), max_answer_tokens=5)
    assert fake.times[1] - fake.times[0] >= 0.4


def test_retry_after_may_be_a_date_or_nonsense():
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    assert 20 < chat_endpoint._retry_after(email.utils.format_datetime(soon)) <= 30
    assert chat_endpoint._retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == 0
    assert [chat_endpoint._retry_after(v) for v in (None, "", "soon", "inf", "nan", "-3")] == [
        None, None, None, None, None, 0,
    ]  # fmt: skip


def test_nobody_waits_for_a_day(fake, client):
    fake.script = lambda body: error(429, Retry_After="86400") if "b" in str(body) else echo(body)
    found = client().ask(prompts("a", "b"), max_answer_tokens=5)
    assert found[0].text
    assert "86,400 s" in found[1].problem


def test_a_prompt_that_keeps_failing_has_a_problem_and_others_an_answer(fake, client):
    fake.script = lambda body: error(500, "boom") if "bad" in str(body) else echo(body)
    asked = client(retries=2)
    found = asked.ask(prompts("a", "bad", "c"), max_answer_tokens=5)
    assert [one.text for one in found] == ["re: a", "", "re: c"]
    assert "500: boom" in found[1].problem
    assert len(fake.requests) == 5
    assert asked.usage.unanswered == 1


def test_a_refused_prompt_is_not_repeated(fake, client):
    fake.script = lambda body: error(400, "too long") if "b" in str(body) else echo(body)
    found = client().ask(prompts("a", "b"), max_answer_tokens=5)
    assert "too long" in found[1].problem
    assert len(fake.requests) == 2


@pytest.mark.parametrize(
    ("name", "message", "instead"),
    [
        ("max_tokens", "use 'max_completion_tokens' instead", "max_completion_tokens"),
        ("temperature", "temperature does not support 0 with this model", None),
        ("seed", "seed: extra inputs are not permitted", None),
    ],
)  # fmt: skip
def test_a_parameter_that_a_model_does_not_take_is_left_out(fake, client, name, message, instead):
    message = f"{message} ({name})"
    fake.script = lambda body: error(400, message) if name in body else echo(body)
    found = client(concurrency=1).ask(prompts("a", "b"), max_answer_tokens=5)
    assert all(one.text for one in found)
    assert len(fake.requests) == 3
    assert instead is None or fake.requests[-1][instead] == 5


def test_an_empty_answer_is_a_problem_and_not_asked_for_again(fake, client):
    cache = Kept()
    fake.script = lambda body: answer(None, finish="length")
    for _ in range(2):
        found = client(cache).ask(prompts("a"), max_answer_tokens=5)
        assert "length" in found[0].problem
    assert len(fake.requests) == 1


def test_text_in_pieces_is_joined(fake, client):
    pieces = [{"type": "text", "text": "a"}, {"type": "other"}, {"type": "text", "text": "b"}]
    fake.script = lambda body: answer(pieces)
    assert client().ask(prompts("a"), max_answer_tokens=5)[0].text == "ab"


def test_the_budget_of_requests_is_never_exceeded(fake, client):
    asked = client(max_requests=5)
    found = asked.ask(prompts(*map(str, range(9))), max_answer_tokens=5)
    assert len(fake.requests) == asked.usage.requests == 5
    assert sum(bool(one.text) for one in found) == 5
    assert {one.problem for one in found if not one.text} == {"max_requests 5 is reached"}


def test_repeated_requests_count_against_the_budget(fake, client):
    fake.script = in_turn(error(500))
    found = client(max_requests=3, retries=9).ask(prompts("a"), max_answer_tokens=5)
    assert len(fake.requests) == 3
    assert "max_requests" in found[0].problem


def test_the_budget_of_tokens_is_never_exceeded(fake, client):
    most = chat.most_tokens(prompts("0")[0]) + 5
    fake.script = lambda body: answer("x", prompt=most - 5, tokens=5)
    asked = client(max_tokens=3 * most + most // 2, concurrency=8)
    found = asked.ask(prompts(*map(str, range(9))), max_answer_tokens=5)
    assert len(fake.requests) == 3
    assert asked.usage.tokens == 3 * most
    assert "max_tokens" in next(one.problem for one in found if not one.text)


def test_tokens_that_an_answer_does_not_use_are_given_back(fake, client):
    most = chat.most_tokens(prompts("0")[0]) + 1_000
    asked = client(max_tokens=most + 9 * 15, concurrency=8)
    found = asked.ask(prompts(*map(str, range(9))), max_answer_tokens=1_000)
    assert all(one.text for one in found)
    assert asked.usage.tokens == 9 * 15


def test_without_usage_the_most_is_counted(fake, client):
    fake.script = lambda body: Sent({"choices": [{"message": {"content": "x"}}]})
    asked = client()
    asked.ask(prompts("a"), max_answer_tokens=50)
    assert asked.usage.tokens == chat.most_tokens(prompts("a")[0]) + 50


@pytest.mark.parametrize(("status", "words"), [(401, "OPENAI_API_KEY"), (404, "model")])
def test_what_can_never_work_stops_at_once(fake, client, status, words):
    fake.script = lambda body: error(status, "nope")
    with pytest.raises(RequestError, match=words):
        client(concurrency=1).ask(prompts(*map(str, range(50))), max_answer_tokens=5)
    assert len(fake.requests) <= 2


def test_redirects_are_not_followed(fake, client):
    fake.script = lambda body: Sent(b"", 307, {"Location": "http://elsewhere.example/v1"})
    with pytest.raises(RequestError, match=r"redirects to http://elsewhere\.example"):
        client().ask(prompts("a"), max_answer_tokens=5)
    assert len(fake.requests) == 1


def test_an_endpoint_that_is_down_is_told(client):
    with pytest.raises(JobError, match="has answered nothing"):
        client(endpoint="http://127.0.0.1:9/v1").ask(prompts("a"), max_answer_tokens=5)


def test_an_endpoint_that_goes_down_is_not_asked_for_ever(fake, client):
    fake.script = lambda body: echo(body) if len(fake.requests) <= 2 else error(502)
    with pytest.raises(JobError, match="is down"):
        client(concurrency=1, retries=1).ask(prompts(*map(str, range(99))), max_answer_tokens=5)
    assert len(fake.requests) == 2 + 2 * chat._DOWN


def test_the_key_goes_to_the_endpoint_and_nowhere_else(fake, client, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    cache = Kept()
    asked = client(cache, api_key_env="MY_KEY")
    asked.ask(prompts("a"), max_answer_tokens=5)
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"
    fake.script = lambda body: error(400, f"bad key {KEY} " * 50)
    found = asked.ask(prompts("b"), max_answer_tokens=5)
    fake.script = lambda body: error(401, f"Incorrect key: {KEY}")
    with pytest.raises(RequestError) as raised:
        asked.ask(prompts("c"), max_answer_tokens=5)
    shown = f"{caplog.text} {raised.value} {found[0].problem} {asked.__dict__} {cache}"
    assert KEY not in shown
    assert "***" in found[0].problem


def test_without_a_key_none_is_sent(fake, client):
    client().ask(prompts("a"), max_answer_tokens=5)
    assert "Authorization" not in fake.headers[0]


@pytest.mark.parametrize("key", ["a\nb", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_told_and_not_shown(client, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(RequestError, match="OPENAI_API_KEY") as raised:
        client()
    assert key not in str(raised.value)


def test_an_address_without_a_host_is_told(client):
    with pytest.raises(RequestError, match="names no host"):
        client(endpoint="http:///v1")
