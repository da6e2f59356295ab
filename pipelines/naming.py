"""Names of domains: by their keywords, or by a language model that is shown their documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mixcurate.io.answers import AnswerFiles
from mixcurate.kernels import topic_prompts, topics
from mixcurate.kernels.clustering import NamerParams, TopicParams
from mixcurate.models.chat import Answer, ChatClient
from pipelines.job import Job

#: What names domains; None where their keywords do.
Namer = ChatClient


@dataclasses.dataclass(frozen=True)
class TopicSample:
    """Sampled documents of all domains."""

    texts: list[str]
    """Beginnings of documents ``[n]``."""
    languages: list[str]
    """ISO 639-1 codes ``[n]``."""
    domains: npt.NDArray[np.int32]
    """int32 ``[n]``."""


@dataclasses.dataclass(frozen=True)
class Naming:
    """What domains are called, and which of them are one topic."""

    names: list[str]
    """Name of each domain; domains of one group share theirs, others differ."""
    groups: list[int]
    """Group of each domain, numbered by their first domains."""
    notes: list[str]
    """What is worth telling: answers that could not be used, and what was spent."""


def make_namer(job: Job) -> Namer | None:
    """The language model that the recipe asks for, with the workdir's answers so far.

    Raises:
        RequestError: its address or its key cannot be used.
    """
    params = job.recipe.cluster.topics.namer
    if params is None:
        return None
    return ChatClient(params, AnswerFiles(job.workdir.path("_stages", "cluster", "answers")))


def name_domains(
    sample: TopicSample,
    keywords: Sequence[Sequence[str]],
    params: TopicParams,
    namer: Namer | None,
) -> Naming:
    """Name every domain, and merge domains into topics if that is asked for.

    A domain that the model gives no usable name is named by its keywords; one that it puts into no
    topic stays on its own.

    Args:
        sample: documents to show.
        keywords: of each domain.
        params: what is asked for.
        namer: the model; None names by keywords.

    Raises:
        RequestError: the endpoint, its key or its model are wrong.
        JobError: the endpoint is down.
    """
    by_keywords = topics.names(keywords)
    if namer is None or params.namer is None:
        return Naming(by_keywords, list(range(len(keywords))), [])
    names, notes = _ask_names(sample, keywords, by_keywords, params.namer, namer)
    groups = list(range(len(names)))
    if params.namer.topics is not None and params.namer.topics < len(names):
        merged = _ask_groups(names, keywords, params.namer.topics, namer)
        names, groups = merged.names, merged.groups
        notes += merged.notes
    usage = namer.usage
    notes.append(
        f"{params.namer.model} named the domains: {usage.requests:,} requests, "
        f"{usage.tokens:,} tokens, {usage.from_cache:,} answers were there already"
    )
    return Naming(names, groups, notes)


def _ask_names(
    sample: TopicSample,
    keywords: Sequence[Sequence[str]],
    by_keywords: list[str],
    params: NamerParams,
    namer: Namer,
) -> tuple[list[str], list[str]]:
    """A different name for each domain, and what is worth telling."""
    shown = [_spread(sample, domain, params.documents) for domain in range(len(keywords))]
    asked = [number for number, texts in enumerate(shown) if texts]
    answers = namer.ask(
        [topic_prompts.name_messages(shown[number], keywords[number]) for number in asked],
        max_answer_tokens=topic_prompts.NAME_TOKENS,
    )
    names = list(by_keywords)
    unusable: dict[str, list[int]] = {}
    for number, answer in zip(asked, answers, strict=True):
        name = topic_prompts.parse_name(answer.text)
        if name is None:
            unusable.setdefault(_why(answer), []).append(number)
        else:
            names[number] = name
    notes = [
        f"warning: {len(numbers):,} of {len(names):,} domains are named by their keywords "
        f"({', '.join(by_keywords[number] for number in numbers[:5])}): {why}"
        for why, numbers in list(unusable.items())[:5]
    ]
    return _told_apart(names, keywords), notes


def _spread(sample: TopicSample, domain: int, count: int) -> list[str]:
    """Texts of a domain, evenly spread over the sample, which is in the order of the corpus."""
    rows = np.flatnonzero(sample.domains == domain)
    places = np.unique(np.arange(count) * len(rows) // count) if len(rows) else rows
    return [sample.texts[row] for row in rows[places].tolist()]


def _why(answer: Answer) -> str:
    if answer.problem:
        return answer.problem
    return f"the answer is no name of at most {topic_prompts.MAX_WORDS} words"


def _told_apart(names: list[str], keywords: Sequence[Sequence[str]]) -> list[str]:
    """Where a name repeats, the first keyword that is not in it goes behind it."""
    taken: set[str] = set()
    result = []
    for name, words in zip(names, keywords, strict=True):
        found = name
        if name in taken:
            word = next((word for word in words if word not in name.lower()), "")
            found = f"{name} ({word})" if word else name
        taken.add(found)
        result.append(found)
    return topics.unique(result)


def _ask_groups(
    names: list[str], keywords: Sequence[Sequence[str]], wanted: int, namer: Namer
) -> topic_prompts.Merged:
    [answer] = namer.ask(
        [topic_prompts.merge_messages(names, keywords, wanted)],
        max_answer_tokens=topic_prompts.merge_tokens(len(names), wanted),
    )
    if answer.problem:
        note = f"warning: no domains are merged: {answer.problem}"
        return topic_prompts.Merged(names, list(range(len(names))), [note])
    return topic_prompts.parse_groups(answer.text, names, wanted)
