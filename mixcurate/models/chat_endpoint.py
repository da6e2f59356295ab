"""One request to an OpenAI-compatible endpoint, and what its answer means.

httpx2 rather than the ``openai`` package: every request counts against a budget, repeated ones too,
redirects are not followed, and an answer has a largest size; the package does all of this out of
sight. httpx2 is there already, for the hub's client needs it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from mixcurate.errors import RequestError
from mixcurate.params import EndpointParams

if TYPE_CHECKING:
    import httpx2

#: Bytes of an answer that are read at most.
MAX_BODY = 4 << 20

#: Longest wait that an endpoint may ask for, in seconds.
MAX_WAIT = 600.0

_TEMPORARY = {408, 409, 425, 429}
_FATAL = {
    401: "the key in ${key} is missing or wrong",
    402: "the account has no credit",
    404: "no such model, or no such path: set endpoint up to /v1 and check model",
    405: "no such path: set endpoint up to /v1",
}
#: Parameters that some models do not take, and what takes their place.
_OPTIONAL = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}
_UNKNOWN = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|extra|not permitted|not allowed"
    r"|max_completion_tokens",
    re.I,
)


class TemporaryError(Exception):
    """The request failed, and may succeed if it is repeated."""

    def __init__(
        self, reason: str, *, wait: float | None = None, may_have_cost: bool = False
    ) -> None:
        self.wait, self.may_have_cost = wait, may_have_cost
        super().__init__(reason)


class RefusedError(Exception):
    """The endpoint does not answer this prompt; others may do."""

    may_have_cost = False


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer as it is kept."""

    text: str
    prompt_tokens: int
    answer_tokens: int
    counted: bool
    """Whether the endpoint told the tokens."""
    finish: str
    """Why the model ended: stop, length, content_filter, …"""
    model: str
    """The model that has answered, as the endpoint calls it."""

    @property
    def tokens(self) -> int | None:
        """Tokens of prompt and answer; None where the endpoint does not tell."""
        return self.prompt_tokens + self.answer_tokens if self.counted else None


class Endpoint:
    """Connections to one endpoint."""

    def __init__(self, params: EndpointParams) -> None:
        """Open nothing yet.

        Raises:
            RequestError: the endpoint is no usable address, or the key cannot be sent.
        """
        import httpx2  # here and below: every command would wait for it

        self.url = f"{params.endpoint.rstrip('/')}/chat/completions"
        self._key_env = params.api_key_env
        self._key = os.environ.get(params.api_key_env, "").strip()
        self._timeout = params.timeout_seconds
        self._replaced: dict[str, str | None] = {}
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            if not (self._key.isascii() and self._key.isprintable()):
                raise RequestError(
                    f"${params.api_key_env} holds what no key has: line breaks or characters "
                    f"beyond ASCII; set it again"
                )
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise RequestError(f"endpoint {params.endpoint!r} is no address: {error}") from error
        if not url.host:
            raise RequestError(f"endpoint {params.endpoint!r} names no host")
        self.shown = str(url.copy_with(username=None, password=None))
        self._client = httpx2.Client(
            headers=headers,
            timeout=params.timeout_seconds,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=params.concurrency),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def post(self, body: dict[str, Any]) -> Reply:
        """Send one request.

        Raises:
            TemporaryError: it may be repeated.
            RefusedError: this prompt is not answered.
            RequestError: nothing can be asked this way: key, model or address are wrong.
        """
        import httpx2

        try:
            status, headers, data = self._send(self._adapted(body))
        except httpx2.TimeoutException as error:
            reason = f"no answer in {self._timeout:g} s"
            raise TemporaryError(reason, may_have_cost=True) from error
        except httpx2.HTTPError as error:
            reason = self._plain(f"{type(error).__name__}: {error}")
            raise TemporaryError(reason, may_have_cost=True) from error
        if status == 200:
            return self._reply(data)
        raise self._failure(status, headers, data)

    def _send(self, body: dict[str, Any]) -> tuple[int, httpx2.Headers, bytes]:
        """Status, headers and at most ``MAX_BODY`` + 1 bytes of the body."""
        import httpx2

        deadline = time.monotonic() + self._timeout
        content = orjson.dumps(body)
        headers = {"Content-Type": "application/json"}
        with self._client.stream("POST", self.url, content=content, headers=headers) as response:
            parts, size = [], 0
            for chunk in response.iter_raw(64 << 10):  # raw: nothing is unpacked
                parts.append(chunk)
                size += len(chunk)
                if size > MAX_BODY:
                    break
                if time.monotonic() > deadline:  # a server that sends a byte now and then
                    raise httpx2.ReadTimeout("the answer does not end")
            return response.status_code, response.headers, b"".join(parts)

    def _adapted(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with the parameters that this endpoint takes."""
        names = {name: self._replaced.get(name, name) for name in body}
        return {new: body[name] for name, new in names.items() if new is not None}

    def _reply(self, data: bytes) -> Reply:
        if len(data) > MAX_BODY:
            raise TemporaryError(f"an answer of more than {MAX_BODY:,} bytes", may_have_cost=True)
        try:
            value = orjson.loads(data)
            choice = value["choices"][0]
            text = _text(choice["message"])
        except (orjson.JSONDecodeError, LookupError, TypeError) as error:
            shown = self._plain(data[:200].decode("utf-8", "replace"))
            raise TemporaryError(f"no answer that is one: {shown}", may_have_cost=True) from error
        counts = value.get("usage")
        counts = counts if isinstance(counts, dict) else {}
        prompt = _as_count(counts.get("prompt_tokens"))
        answer = _as_count(counts.get("completion_tokens"))
        return Reply(
            text=text,
            prompt_tokens=prompt or 0,
            answer_tokens=answer or 0,
            counted=prompt is not None and answer is not None,
            finish=str(choice.get("finish_reason") or "")[:40],
            model=str(value.get("model") or "")[:200],
        )

    def _failure(self, status: int, headers: httpx2.Headers, data: bytes) -> Exception:
        """The exception that a status other than 200 comes to."""
        said = self._plain(_message(data))
        shown = f"status {status}" + (f": {said}" if said else "")
        if 300 <= status < 400:
            target = self._plain(headers.get("location", "nowhere"))
            return RequestError(f"{self.shown} redirects to {target}; set endpoint to where it is")
        if status in _FATAL:
            why = _FATAL[status].format(key=self._key_env)
            return RequestError(f"{self.shown} says {shown}. Probably {why}")
        if b"insufficient_quota" in data:
            return RequestError(f"{self.shown} says {shown}. Answers so far are kept")
        if status in _TEMPORARY or status >= 500:
            wait = _retry_after(headers.get("retry-after"))
            if wait is not None and wait > MAX_WAIT:
                return RefusedError(f"{shown} (asks to wait {wait:,.0f} s, too long)")
            return TemporaryError(shown, wait=wait)
        if status in (400, 422) and self._replace(data.decode("utf-8", "replace")):
            return TemporaryError(shown, wait=0)
        return RefusedError(shown)

    def _replace(self, said: str) -> bool:
        """Leave out or rename the parameter that an endpoint complains of; False if it is none."""
        if not _UNKNOWN.search(said):
            return False
        for name, instead in _OPTIONAL.items():
            if name in said and name not in self._replaced:
                self._replaced[name] = instead
                return True
        return False

    def _plain(self, text: str) -> str:
        """Text from outside on one line of bounded length, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        return "".join(c if c.isprintable() else " " for c in text[:1_000]).strip()[:300]


def _text(message: dict[str, Any]) -> str:
    """The text of a message; some endpoints give it in pieces, and none when the model refuses."""
    content = message["content"]
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError("content is no text")
    return content


def _message(data: bytes) -> str:
    """What an error's body says."""
    try:
        value = orjson.loads(data)
        error = value.get("error", value)
        return str(error["message"] if isinstance(error, dict) else error)
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return data[:1_000].decode("utf-8", "replace")


def _as_count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40:
        return value
    return None


def _retry_after(value: str | None) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    try:
        wait = float(value)
    except ValueError:
        try:
            wait = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, wait) if wait < float("inf") else None
