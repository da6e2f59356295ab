"""Parameters of ingest: which documents are kept, and how large a part is."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize, Field, PositiveInt

from mixcurate.kernels.dedup import DedupParams
from mixcurate.params import Params


class IngestParams(Params):
    """What ingest keeps of the raw inputs."""

    languages: list[str] = Field(default=[])
    """ISO 639-1 codes to keep; empty keeps every language."""
    min_language_score: float = Field(0.5, ge=0, le=1)
    """Least probability of the identified language when `languages` is given."""
    filters: Literal["gopher", "fineweb", "none"] | None = "gopher"
    """Preset of quality rules."""
    thresholds: dict[str, tuple[float | None, float | None]] = Field(default={})
    """Own bounds per signal, `signal: [least, most]`, on top of the preset; null is no bound."""
    dedup: DedupParams | None = DedupParams()
    """Deduplication; null keeps every duplicate."""
    tokenizer: str = "embedded"
    """What counts tokens: `embedded` (Mistral Tekken) or a Hugging Face tokenizer.json."""
    max_document_bytes: ByteSize = ByteSize(16 << 20)
    """Longer documents are rejected."""
    part_documents: PositiveInt = 1_000
    """Most documents in a part file."""
    part_bytes: ByteSize = ByteSize(32 << 20)
    """Most text in a part file, apart from its last document."""
    task_bytes: ByteSize = ByteSize(128 << 20)
    """Splittable inputs are cut into tasks of this size; 0.5-1 GB suits a large cluster."""
