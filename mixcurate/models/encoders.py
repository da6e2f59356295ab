"""Parameters of embed, what they come to on a machine, and the protocol that backends follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from mixcurate.models.sequences import Sequences
from mixcurate.params import Params


class EmbedParams(Params):
    """Which model turns documents into vectors, and how."""

    model: str = "embedded"
    """`embedded` (all-MiniLM-L6-v2, carried by a package), a folder, or a hub name."""
    revision: str | None = None
    """Commit of a hub model; pins what is downloaded."""
    backend: Literal["auto", "torch", "openvino", "static"] = "auto"
    """What runs the model; `auto` goes by model and device, and says what it took and why."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """Arithmetic; `auto` is bf16 where the device has it, else fp16 on a GPU, fp32 on a CPU."""
    max_tokens: PositiveInt = 256
    """Tokens in one forward pass of a document, or the model's own maximum if that is lower."""
    long_documents: Literal["truncate", "mean_of_windows"] = "truncate"
    """What does not fit is cut off, or read in windows whose vectors are averaged."""
    max_windows: PositiveInt = 16
    """Most windows of a document, spread evenly over it (`mean_of_windows` only)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; `auto` takes a GPU when there is one."""
    batch_tokens: PositiveInt | None = None
    """Tokens in one forward pass of torch, padding included; null takes what fits the device."""
    store: Literal["float16", "float32", "int8"] = "float16"
    """Numbers in the embeddings' files; int8 has a scale per vector."""
    reuse: tuple[str, ...] = ()
    """Workdirs whose embeddings of the same content, model and parameters are taken over."""
    trust_remote_code: bool = False
    """Run code that comes with a hub model. Off unless you say so here."""
    accelerator: str | None = "type:nvidia-l4;count:1;install-nvidia-driver"
    """Dataflow resource hint of the embed step; other runners ignore it."""
    min_ram: str = "16GB"
    """Dataflow memory hint of the embed step."""


@dataclasses.dataclass(frozen=True)
class EncoderSpec:
    """A model, and how it is run, with nothing left open: the same vectors wherever it is loaded.

    Attributes:
        model: ``embedded``, an absolute folder, or a hub name.
        revision: commit of a hub model.
        weights: sha256 over everything in the model's folder that its vectors depend on.
        backend: torch, openvino or static.
        precision: fp32, bf16, fp16 or int8.
        device: cpu or cuda.
        max_tokens: asked for; the model's own maximum may be lower.
        long_documents: truncate or mean_of_windows.
        max_windows: most windows of a document.
        batch_tokens: tokens in a forward pass, or None to find out.
        trust_remote_code: whether code that comes with the model may run.
        reason: why this backend and precision, for people.
    """

    model: str
    revision: str | None
    weights: str
    backend: str
    precision: str
    device: str
    max_tokens: int
    long_documents: str = "truncate"
    max_windows: int = 16
    batch_tokens: int | None = None
    trust_remote_code: bool = False
    reason: str = ""

    @property
    def identity(self) -> str:
        """Names all that a vector depends on: equal identities may share embeddings."""
        words = [self.weights, self.backend, self.precision, str(self.max_tokens)]
        if self.long_documents != "truncate":
            words.append(f"{self.long_documents}:{self.max_windows}")
        return " ".join(words)

    @property
    def name(self) -> str:
        """The model as people call it."""
        if self.model == "embedded":
            return "all-MiniLM-L6-v2"
        return f"{self.model}@{self.revision[:8]}" if self.revision else self.model

    @property
    def description(self) -> str:
        """Model and manner in one line."""
        windows = f", up to {self.max_windows} windows" * (self.long_documents != "truncate")
        how = f"{self.backend} {self.precision} on {self.device}"
        return f"{self.name}, {how}, {self.max_tokens} tokens{windows}"


@dataclasses.dataclass
class EncodeStats:
    """What encoding did; all times are wall seconds.

    Attributes:
        documents: how many were encoded.
        tokens: tokens that the model read.
        padded_tokens: the same with padding.
        not_finite: documents for which the model gave a value that is not finite.
        tokenize_seconds: in the tokenizer, most of it while the device works.
        forward_seconds: the device works (the mean over lanes, where a device has several).
        wait_seconds: the device has nothing to do, for it waits for a text to be read, tokenised,
            or written.
    """

    documents: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    not_finite: int = 0
    tokenize_seconds: float = 0.0
    forward_seconds: float = 0.0
    wait_seconds: float = 0.0


class Encoded(NamedTuple):
    """What a backend made of sequences."""

    vectors: npt.NDArray[np.float32]
    """``[m, dimension]``, row i for sequence i."""
    padded_tokens: int
    """Tokens that were computed on, padding included."""
    seconds: float
    """Time that lanes worked on it, added up."""


#: Told (documents, tokens) whenever some are done; safe to call from any thread.
Beat = Callable[[int, int], None]


class Backend(Protocol):
    """A model on a device. Loaded once per process, shared by its threads."""

    dimension: int
    """Length of a vector."""
    normalises: bool
    """Whether the model itself scales its vectors to unit length."""
    window: int
    """Documents to tokenise together: enough to sort and fill batches, or to keep lanes busy."""
    lanes: int
    """How many forward passes run at once."""
    ahead: int
    """Windows to hand over before the first one's result is asked for."""

    def submit(self, sequences: Sequences, beat: Beat) -> Callable[[], Encoded]:
        """Start on ``sequences`` and return at once; calling the result waits for the vectors.

        A vector depends on its own sequence alone, up to the rounding that padding brings in
        backends that pad.
        """
        ...
