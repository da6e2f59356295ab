"""What a run may spend on a language model; counted before a request is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

#: Tokens that chat templates put around a message, and then some.
_AROUND = 32


class BudgetSpentError(Exception):
    """The budget has no room for another request."""


class Budget:
    """Requests and tokens that are left; shared by threads.

    A request takes its most tokens first, and gives back what it did not use when it ends. One that
    does not fit waits for those under way, since they may give some back.
    """

    def __init__(self, requests: int, tokens: int) -> None:
        self._max_requests, self._max_tokens = requests, tokens
        self._requests = self._tokens = self._under_way = 0
        self._changed = threading.Condition()
        self.spent = ""
        """Why nothing is sent any more; empty as long as something is."""

    def reserve(self, tokens: int) -> None:
        """Take one request of at most ``tokens``.

        Raises:
            BudgetSpentError: it does not fit, or one before it did not.
        """
        with self._changed:
            while not self.spent:
                if self._requests >= self._max_requests:
                    self.spent = f"max_requests {self._max_requests:,} is reached"
                elif self._tokens + tokens <= self._max_tokens:
                    self._requests += 1
                    self._tokens += tokens
                    self._under_way += 1
                    return
                elif self._under_way:
                    self._changed.wait()
                else:
                    self.spent = (
                        f"max_tokens {self._max_tokens:,} is reached: {self._tokens:,} are spent, "
                        f"and the next request may take {tokens:,}"
                    )
            raise BudgetSpentError(self.spent)

    def settle(self, reserved: int, used: int) -> None:
        """A request has ended: ``used`` of its ``reserved`` tokens are gone."""
        with self._changed:
            self._tokens += used - reserved
            self._under_way -= 1
            self._changed.notify_all()


def most_tokens(messages: Iterable[Mapping[str, str]]) -> int:
    """Tokens of a prompt at most, whatever the tokenizer: none makes more than one of a byte."""
    return sum(len(m["content"].encode("utf-8", "replace")) + _AROUND for m in messages) + _AROUND
