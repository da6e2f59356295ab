"""Questions to a language model behind any OpenAI-compatible endpoint, paid for once.

Answers are kept in a cache, so that a run that was interrupted repeats no request; requests are
counted against a budget before they are sent; what fails for a while is asked again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import orjson

from mixcurate.errors import JobError
from mixcurate.models.chat_budget import Budget, BudgetSpentError, most_tokens
from mixcurate.models.chat_endpoint import Endpoint, RefusedError, Reply, TemporaryError
from mixcurate.params import EndpointParams

if TYPE_CHECKING:
    from tenacity import RetryCallState

#: One message of a prompt: ``{"role": "system" | "user" | "assistant", "content": text}``.
Message = dict[str, str]

#: So many prompts in a row that fail however often they are repeated: the endpoint is down.
_DOWN = 5

#: First and longest wait before a repetition, in seconds, if the endpoint asks for none.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back for one prompt."""

    text: str
    """The answer; empty where there is none."""
    prompt_tokens: int
    """Tokens of the prompt as the endpoint counts them."""
    answer_tokens: int
    """Tokens of the answer as the endpoint counts them."""
    from_cache: bool
    """Whether it was there already and cost nothing."""
    problem: str = ""
    """Why there is no text; empty where there is one."""
    over_budget: bool = False
    """Whether it was not asked, since the budget is spent."""


@dataclasses.dataclass
class Usage:
    """What a client has done so far."""

    requests: int = 0
    """Sent, repeated ones included."""
    tokens: int = 0
    """Of prompts and answers, as far as the endpoint tells; else their most."""
    answers: int = 0
    """Prompts that were answered."""
    from_cache: int = 0
    """How many of these without a request."""
    unanswered: int = 0
    """Prompts without an answer."""


class AnswerCache(Protocol):
    """Where answers are kept between runs; called from several threads."""

    def get(self, key: str) -> bytes | None:
        """What was put under ``key``, or None."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep ``data``, whole or not at all."""
        ...


class ChatClient:
    """Asks one model at one endpoint, within one budget. Use it as a context manager."""

    def __init__(self, params: EndpointParams, cache: AnswerCache | None = None) -> None:
        """Prepare; nothing is sent yet.

        The key is read from the environment variable that ``params.api_key_env`` names; without
        one, requests carry none, as local servers want it.

        Raises:
            RequestError: the endpoint is no usable address, or the key cannot be sent.
        """
        self.usage = Usage()
        self._params, self._cache = params, cache
        self._endpoint = Endpoint(params)
        self._budget = Budget(params.max_requests, params.max_tokens)
        self._lock = threading.Lock()
        self._failed_in_a_row = 0
        self._reached = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    def ask(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_answer_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Answer]:
        """One answer per prompt, in their order; where there is none, ``problem`` says why.

        A prompt has no answer when the budget is spent, when the endpoint refuses it, or when it
        still fails after all repetitions. Prompts with equal content are sent once.

        Args:
            prompts: the messages of each.
            max_answer_tokens: an answer is cut there.
            temperature: 0 takes the most likely answer.
            seed: passed on; endpoints do their best to repeat themselves.

        Raises:
            RequestError: key, model or address are wrong: nothing can be asked this way.
            JobError: the endpoint is down, or it has answered nothing at all. What it did answer
                is in the cache.
        """
        bodies = [
            {
                "model": self._params.model,
                "messages": list(prompt),
                "max_tokens": max_answer_tokens,
                "temperature": temperature,
                "seed": seed,
            }
            for prompt in prompts
        ]
        keys = [self._key(body) for body in bodies]
        unique = dict(zip(keys, bodies, strict=True))
        stop = threading.Event()
        with ThreadPoolExecutor(self._params.concurrency, "chat") as pool:
            futures = {
                key: pool.submit(self._answer, key, body, stop) for key, body in unique.items()
            }
            try:
                ended, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
                for future in ended:
                    future.result()  # raises what is wrong for all
            except BaseException:
                stop.set()  # wakes who waits to try again
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        answers = {key: future.result() for key, future in futures.items()}
        problems = [answer.problem for answer in answers.values() if answer.problem]
        if problems and not self._reached and not self._budget.spent:
            raise JobError(f"{self._endpoint.shown} has answered nothing: {problems[0]}")
        return [answers[key] for key in keys]

    def _key(self, body: dict[str, Any]) -> str:
        """Names a request: what is asked, of which model, where."""
        data = orjson.dumps([self._endpoint.url, body], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(data).hexdigest()

    def _answer(self, key: str, body: dict[str, Any], stop: threading.Event) -> Answer:
        reply = self._cached(key)
        if reply is not None:
            self._reached = True
            return self._count(_answer_of(reply, from_cache=True))
        try:
            if stop.is_set():
                raise RefusedError("stopped")
            reply = self._ask_until_answered(body, stop)
        except (RefusedError, TemporaryError, BudgetSpentError) as error:
            if isinstance(error, TemporaryError):
                self._note_failure(error, stop)
            spent = isinstance(error, BudgetSpentError)
            answer = Answer("", 0, 0, from_cache=False, problem=str(error), over_budget=spent)
            return self._count(answer)
        except BaseException:
            stop.set()
            raise
        with self._lock:
            self._failed_in_a_row, self._reached = 0, True
        if self._cache is not None:
            self._cache.put(key, orjson.dumps(dataclasses.asdict(reply)))
        return self._count(_answer_of(reply, from_cache=False))

    def _ask_until_answered(self, body: dict[str, Any], stop: threading.Event) -> Reply:
        from tenacity import (  # here: every command would wait for it
            Retrying,
            retry_if_exception_type,
            sleep_using_event,
            stop_after_attempt,
            stop_when_event_set,
        )

        attempts = Retrying(
            retry=retry_if_exception_type(TemporaryError),
            wait=_wait,
            stop=stop_after_attempt(self._params.retries + 1) | stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            reraise=True,
        )
        return attempts(self._ask_once, body)

    def _ask_once(self, body: dict[str, Any]) -> Reply:
        """One request, paid for: reserved before, settled after."""
        most = most_tokens(body["messages"]) + int(body["max_tokens"])
        self._budget.reserve(most)
        used = most  # of a request without an end nobody knows what it has cost
        try:
            reply = self._endpoint.post(body)
            used = most if reply.tokens is None else reply.tokens
        except (RefusedError, TemporaryError) as error:
            used = most if error.may_have_cost else 0
            raise
        finally:
            self._budget.settle(most, used)
            with self._lock:
                self.usage.requests += 1
                self.usage.tokens += used
        return reply

    def _cached(self, key: str) -> Reply | None:
        data = self._cache.get(key) if self._cache is not None else None
        if data is None:
            return None
        try:
            reply = Reply(**orjson.loads(data))
        except (orjson.JSONDecodeError, TypeError):  # damaged: it is asked for again
            return None
        return reply if isinstance(reply.text, str) else None

    def _count(self, answer: Answer) -> Answer:
        with self._lock:
            self.usage.from_cache += answer.from_cache
            if answer.problem:
                self.usage.unanswered += 1
            else:
                self.usage.answers += 1
        return answer

    def _note_failure(self, error: TemporaryError, stop: threading.Event) -> None:
        with self._lock:
            self._failed_in_a_row += 1
            down = self._failed_in_a_row >= _DOWN
        if down and not stop.is_set():
            stop.set()
            raise JobError(
                f"{self._endpoint.shown} is down: {_DOWN} prompts in a row failed, the last with: "
                f"{error}. Answers so far are kept; run again when it is up"
            )


def _wait(state: RetryCallState) -> float:
    """What the endpoint asks for, or longer each time."""
    from tenacity import wait_exponential_jitter

    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TemporaryError) and error.wait is not None:
        return error.wait
    return wait_exponential_jitter(_FIRST_WAIT, _LONGEST_WAIT, jitter=_FIRST_WAIT)(state)


def _answer_of(reply: Reply, *, from_cache: bool) -> Answer:
    text = reply.text.strip()
    problem = "" if text else f"the answer is empty ({reply.finish or 'no reason given'})"
    return Answer(text, reply.prompt_tokens, reply.answer_tokens, from_cache, problem)
