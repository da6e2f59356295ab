"""An OpenAI-compatible endpoint for tests, in a thread, that answers by a script."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: From the request's body to what is sent back.
Script = Callable[[dict[str, Any]], "Sent"]


@dataclass
class Sent:
    """A response; ``body`` is sent as it is if it is bytes."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    repeat: int = 1


def answer(text: Any, prompt: int = 10, tokens: int = 5, finish: str = "stop") -> Sent:
    """A good response."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": prompt, "completion_tokens": tokens}
    return Sent({"model": "fake-1", "choices": [choice], "usage": usage})


def error(status: int, message: str = "no", **headers: str) -> Sent:
    """A response that is none."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent({"error": {"message": message}}, status, named)


@dataclass
class FakeEndpoint:
    """What was asked; change ``script`` to answer otherwise."""

    url: str
    script: Script
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    bytes_sent: int = 0


def in_turn(*responses: Sent) -> Script:
    """A script that sends one response after the other, and the last one for ever."""
    lock, left = threading.Lock(), list(responses)

    def script(_: dict[str, Any]) -> Sent:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return script


@contextlib.contextmanager
def fake_endpoint(script: Script) -> Iterator[FakeEndpoint]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.requests.append(body)
            fake.headers.append(dict(self.headers))
            fake.paths.append(self.path)
            fake.times.append(time.monotonic())
            sent = fake.script(body)
            time.sleep(sent.delay)
            data = sent.body if isinstance(sent.body, bytes) else json.dumps(sent.body).encode()
            with contextlib.suppress(OSError):  # the client has gone
                self.send_response(sent.status)
                for name, value in sent.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) * sent.repeat))
                self.end_headers()
                for _ in range(sent.repeat):
                    self.wfile.write(data)
                    fake.bytes_sent += len(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake = FakeEndpoint(f"http://127.0.0.1:{server.server_port}/v1", script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
