"""What a classifier of texts is, and which number of what it gives is the score.

A classifier of Hugging Face gives as many outputs as it has classes, or one number where it was
trained as a regression; one of fastText gives the probability of each label. What of that is the
score follows from ``label``; it is cut to ``range``.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mixcurate.errors import InputError, nearest
from mixcurate.params import ClassifierParams

Float32Array = npt.NDArray[np.float32]

#: What fastText's labels begin with; a recipe may leave it out.
_PREFIX = "__label__"

#: What of a model's outputs is the score: a lone number as it is; the probability of a class, among
#: classes that exclude each other or for itself; the expected number of the class.
Output = Literal["value", "probability", "independent", "expected"]


@dataclasses.dataclass(frozen=True)
class ClassifierSpec:
    """A classifier, and how it is run, with nothing left open.

    Attributes:
        name: the dimension that its score is.
        kind: transformers or fasttext.
        model: a folder or file, absolute, or a hub name.
        revision: commit of a hub model.
        weights: sha256 over all that its scores depend on; empty where nobody has asked.
        output: what of its outputs is the score.
        label: number of the class, or None.
        range: least and greatest score.
        max_tokens: most tokens that are read; fastText reads all.
        precision: fp32, bf16 or fp16.
        device: cpu or cuda.
        batch_tokens: tokens in a forward pass, or None to find out.
        trust_remote_code: whether code that comes with the model may run.
    """

    name: str
    kind: str
    model: str
    revision: str | None
    weights: str
    output: Output
    label: int | None
    range: tuple[float, float]
    max_tokens: int
    precision: str = "fp32"
    device: str = "cpu"
    batch_tokens: int | None = None
    trust_remote_code: bool = False

    @property
    def identity(self) -> str:
        """Names all that a score depends on."""
        words = [self.kind, self.weights, self.output, str(self.label), *map(repr, self.range)]
        if self.kind == "transformers":
            words += [self.precision, str(self.max_tokens)]
        return " ".join(words)

    @property
    def where(self) -> str:
        """The place in the recipe, for messages."""
        return place(self.name)

    @property
    def description(self) -> str:
        """Model and manner in one line."""
        name = f"{self.model}@{self.revision[:8]}" if self.revision else self.model
        how = f"{self.kind} on {self.device}"
        if self.kind == "transformers":
            how = f"{self.kind} {self.precision} on {self.device}, {self.max_tokens} tokens"
        return f"{name}, {how}, {self.range[0]:g} to {self.range[1]:g}"


class Outputs(NamedTuple):
    """What a model gives for a text."""

    names: tuple[str, ...]
    """Of its classes, in order."""
    numbers: tuple[float, ...] | None
    """What each class stands for in an expected value; None where that makes no sense."""
    regression: bool = False
    """Whether its one output is a number, and no class."""
    independent: bool = False
    """Whether each class has a probability for itself (multi-label)."""


@dataclasses.dataclass
class ClassifyStats:
    """What classifying did; times are wall seconds.

    Attributes:
        documents: how many were read.
        tokens: tokens that the model read; of fastText the words.
        padded_tokens: the same with padding.
        not_judged: documents without a score, for they are blank or the model gave no number.
        read_again: documents that were read once more, alone, for their score was too near to the
            middle between two steps to tell which it is.
        forward_seconds: the model works (the mean over lanes, where there are several).
    """

    documents: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    not_judged: int = 0
    read_again: int = 0
    forward_seconds: float = 0.0


class TextClassifier(Protocol):
    """A model that is loaded. Loaded once per process, shared by its threads."""

    window: int
    """Documents to hand over together."""
    load_seconds: float
    """What loading took."""

    def score(
        self,
        batches: Iterable[list[str]],
        stats: ClassifyStats,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Float32Array]:
        """Score batches of any texts, best some ``window`` texts each.

        Args:
            batches: any strings, the empty one included.
            stats: added to as batches are done.
            on_progress: called, from one thread at a time, with (documents, tokens) that are done.

        Yields:
            float32 ``[n]`` for each batch, in order, within the range; NaN for a text that is blank
            or for which the model gives no number.
        """
        ...


def place(name: str) -> str:
    """Where a classifier stands in a recipe."""
    return f"score.quality.classifiers, {name!r}"


def one_at_a_time(on_progress: Callable[[int, int], None] | None) -> Callable[[int, int], None]:
    """A function that any thread may call, and that passes on to one that no two may."""
    lock = threading.Lock()

    def beat(documents: int, tokens: int) -> None:
        if on_progress is not None:
            with lock:
                on_progress(documents, tokens)

    return beat


def choose(
    params: ClassifierParams, outputs: Outputs
) -> tuple[Output, int | None, tuple[float, float]]:
    """What of a model's outputs is the score, of which class, and its range.

    Raises:
        InputError: an unknown label, or a label or range that is missing.
    """
    where = place(params.name)
    if params.label is not None:
        if outputs.regression:
            raise InputError(
                f"{where}: label: {params.model!r} gives one number and has no classes; set label: "
                f"null and range: [least, most]"
            )
        kind: Output = "independent" if outputs.independent else "probability"
        return kind, _label(params, outputs, where), params.range or (0.0, 1.0)
    if outputs.regression:
        if params.range is None:
            raise InputError(
                f"{where}: range: {params.model!r} gives one number without bounds; say which are "
                f"its least and its greatest, such as range: [0, 5]"
            )
        return "value", None, params.range
    if outputs.numbers is None or len(outputs.names) < 2:
        raise InputError(
            f"{where}: label: say the probability of which class is the score; {params.model!r} "
            f"has: {_listed(outputs.names)}"
        )
    return "expected", None, params.range or (min(outputs.numbers), max(outputs.numbers))


def _label(params: ClassifierParams, outputs: Outputs, where: str) -> int:
    wanted, names = params.label, outputs.names
    if isinstance(wanted, int):
        if outputs.numbers is not None and float(wanted) in outputs.numbers:
            return outputs.numbers.index(float(wanted))
        if outputs.numbers is None and 0 <= wanted < len(names):
            return wanted
    for spelled in (str(wanted), f"{_PREFIX}{wanted}"):
        if spelled in names:
            return names.index(spelled)
    hint = nearest(
        str(wanted).removeprefix(_PREFIX), [name.removeprefix(_PREFIX) for name in names]
    )
    hint = hint if hint.startswith("did") else f"it has: {_listed(names)}"
    raise InputError(f"{where}: label: {params.model!r} has no class {wanted!r}; {hint}")


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(name.removeprefix(_PREFIX) for name in names[:50])
    return shown + " and more" * (len(names) > 50)


def numbers_of(names: tuple[str, ...]) -> tuple[float, ...] | None:
    """What fastText's labels stand for, if all of them are numbers."""
    words = [name.removeprefix(_PREFIX) for name in names]
    if all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        return tuple(float(word) for word in words)
    return None
