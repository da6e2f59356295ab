"""What fitting quality heads is asked to do, and what it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from mixcurate.kernels.head_metrics import Measured


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """How heads are fitted and measured.

    Attributes:
        dimensions: ``NAME`` or ``NAME=LEAST:MOST`` of each; none: all fields that hold numbers.
        hidden: units of a hidden layer; None for a linear head.
        held_out: share of the documents that heads are measured on, above 0 and at most 0.5.
        group: field of the labels; documents of one value are held out together.
        seed: what is held out, and where a hidden layer starts.
        model: of texts without a run: `embedded`, a folder, or a hub name.
        inputs: what heads read: the vector, the signals of ingest, or both.
        command: how it was called, for the card.
    """

    dimensions: Sequence[str] = ()
    hidden: int | None = None
    held_out: float = 0.2
    group: str | None = None
    seed: int = 0
    model: str = "embedded"
    inputs: Literal["both", "vectors", "signals"] = "both"
    command: str = ""


@dataclasses.dataclass(frozen=True)
class TrainedDimension:
    """One head: its range, its labels, and what it is worth."""

    name: str
    least: float
    most: float
    labelled: int
    """Documents with a label and a vector."""
    mean: float
    """Of the labels."""
    measured: Measured
    """On documents that were held out, of a head that was fitted without them."""
    reads: str
    """What was chosen for it of the vector and the signals, in words."""
    heuristics_spearman: float | None
    """Rank correlation of the mean of our own quality dimensions with the labels, on the same."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What ``train-quality`` did."""

    head: str
    card: str
    labels: str
    labels_digest: str
    dimensions: list[TrainedDimension]
    documents: int
    """With a label and a vector; of more than about 100,000 a part is fitted on (``heads.fit``)."""
    held_out: int
    """Of these, those that heads were measured on before."""
    groups: int | None
    """Groups of documents, if a field of them was given."""
    rows: int
    """Of the labels."""
    repeated: int
    """Rows on a document that an earlier row was on; labels were averaged."""
    unlabelled: int
    """Documents without any label."""
    unknown: int
    """Documents that the run does not have."""
    unusable: int
    """Documents whose vector is zero or not finite."""
    rejected_path: str | None
    """Where the unknown and the unusable are listed, if there are any."""
    options: TrainOptions
    encoder: dict[str, Any]
    notes: list[str]
    """What one should know before using them."""
