"""Parameters of embed, and the protocol that every encoder follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from mixcurate.params import Params


class EmbedParams(Params):
    """Which model turns documents into vectors, and how."""

    model: str = "embedded"
    """`embedded` (all-MiniLM-L6-v2, carried by a package), a folder, or a hub name."""
    revision: str | None = None
    """Commit of a hub model; pins what is downloaded."""
    max_tokens: PositiveInt = 256
    """Documents are cut to this many tokens of the model, or to its own maximum if lower."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; `auto` takes a GPU when there is one."""
    batch_tokens: PositiveInt | None = None
    """Tokens in one forward pass, padding included; null takes what measured best per device."""
    trust_remote_code: bool = False
    """Run code that comes with a hub model. Off unless you say so here."""
    accelerator: str | None = "type:nvidia-l4;count:1;install-nvidia-driver"
    """Dataflow resource hint of the embed step; other runners ignore it."""
    min_ram: str = "16GB"
    """Dataflow memory hint of the embed step."""


@dataclasses.dataclass
class EncodeStats:
    """What one call of an encoder did; all times are wall seconds."""

    documents: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    tokenize_seconds: float = 0.0
    forward_seconds: float = 0.0


class Encoder(Protocol):
    """A model on a device: shared by threads, safe to call from one thread at a time."""

    dimension: int

    def encode(
        self, texts: list[str], on_progress: Callable[[int, int], None]
    ) -> tuple[npt.NDArray[np.float32], EncodeStats]:
        """Embed ``texts``.

        Args:
            texts: any strings, the empty one included.
            on_progress: called with (documents, tokens) done since the last call.

        Returns:
            float32 ``[n, dimension]``, row i for text i, and what the call cost.
        """
        ...
