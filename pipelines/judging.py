"""Asking a language model about documents until each has points, a reason, or no budget left."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mixcurate.kernels import rubric
from mixcurate.models.chat import Answer, ChatClient
from mixcurate.params import AnnotatorParams
from mixcurate.tables import EXCERPT
from mixcurate.transforms.annotate import Prompts

#: A document whose answer is of no use is asked about again, so often in all.
ATTEMPTS = 3
#: Without it, a model that is asked again says the same again.
_TEMPERATURE = 0.7
#: Prompts that one call asks, for each request that may be under way at once.
_PROMPTS_AT_ONCE = 16
#: So many answers of no use before the first useful one: the model cannot do it.
_HOPELESS = 50


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Why a document has no label."""

    reason: str
    detail: str
    excerpt: str


@dataclasses.dataclass
class Judged:
    """What came of the sample, by place."""

    points: npt.NDArray[np.int16]
    """int16 ``[n, dimensions]``; -1 where a document has no label."""
    rejected: dict[int, Rejected]
    labelled: int = 0
    left: int = 0
    """Documents that the budget did not suffice for."""


class Judging:
    """Asks in rounds: every document once, then again those whose answers were of no use.

    In the order of the hashes, so that what a budget suffices for is a uniform sample too.
    """

    def __init__(self, client: ChatClient, prompts: Prompts, params: AnnotatorParams) -> None:
        self._client, self._prompts, self._params = client, prompts, params
        points = np.full((len(prompts), len(params.rubric)), -1, np.int16)
        self._judged = Judged(points, {})

    def run(self) -> Judged:
        """Ask for all."""
        waiting = list(range(len(self._prompts)))
        for attempt in range(ATTEMPTS):
            waiting = self._round(waiting, attempt)
            if self._is_hopeless(waiting):
                break
        return self._judged

    def _is_hopeless(self, unusable: list[int]) -> bool:
        return len(unusable) >= _HOPELESS and self._judged.labelled == 0

    def _round(self, waiting: list[int], attempt: int) -> list[int]:
        """Ask for each of these once; which of them gave answers of no use."""
        again: list[int] = []
        size = _PROMPTS_AT_ONCE * self._params.concurrency
        for start in range(0, len(waiting), size):
            places = waiting[start : start + size]
            answers = self._client.ask(
                [self._prompts[place] for place in places],
                max_answer_tokens=self._prompts.answer_tokens,
                temperature=_TEMPERATURE if attempt else 0.0,
                seed=attempt,
            )
            for place, answer in zip(places, answers, strict=True):
                if not self._take(place, answer):
                    again.append(place)
            if self._is_hopeless(again):
                break
        return again

    def _take(self, place: int, answer: Answer) -> bool:
        """Note what came of a document; False if it is worth another try."""
        judged = self._judged
        judged.rejected.pop(place, None)
        if answer.over_budget:
            judged.left += 1
            return True
        if answer.problem:  # even where requests have been repeated: things may change
            judged.rejected[place] = Rejected("no_answer", answer.problem, "")
            return False
        found = rubric.parse(answer.text, self._params.rubric)
        if found.problem:
            excerpt = answer.text[:EXCERPT]
            judged.rejected[place] = Rejected("unusable_answer", found.problem, excerpt)
            return False
        judged.points[place] = list(found.points.values())
        judged.labelled += 1
        return True
