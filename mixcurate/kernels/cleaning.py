"""Parameters of ingest: which documents are kept, and how large a part is."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize, Field, PositiveInt

from mixcurate.kernels.contamination import ContaminationParams
from mixcurate.kernels.dedup import DedupParams
from mixcurate.kernels.lines import LineRule
from mixcurate.kernels.pii import PiiParams
from mixcurate.params import Params


class IngestParams(Params):
    """What ingest keeps of the raw inputs."""

    extractor: Literal["auto", "trafilatura", "trafilatura_fast", "resiliparse"] = "auto"
    """What takes the main text out of HTML; `auto` is the best that was measured for its cost."""
    repair: bool = True
    """Mend broken encodings (mojibake) and control characters; letters are composed (NFC)."""
    languages: list[str] = Field(default=[])
    """ISO 639-1 codes to keep; empty keeps every language."""
    min_language_score: float = Field(0.5, ge=0, le=1)
    """Least probability of the identified language when `languages` is given."""
    licences: list[str] = Field(default=[])
    """Licences to keep: classes such as `permissive`, or SPDX identifiers; empty keeps any."""
    boilerplate: list[LineRule] | None = None
    """Lines to take out of texts; null takes what the preset of `filters` implies, [] none."""
    filters: Literal["gopher", "c4", "fineweb", "none"] | None = "gopher"
    """Preset of quality rules."""
    words: Literal["whitespace", "tokens"] = "whitespace"
    """What the rules count as a word: what stands between whitespace, or about what spaCy's English
    tokenizer splits off, as datatrove does."""
    thresholds: dict[str, tuple[float | None, float | None]] = Field(default={})
    """Own bounds per signal, `signal: [least, most]`, on top of the preset; null is no bound."""
    dedup: DedupParams | None = DedupParams()
    """Deduplication; null keeps every duplicate."""
    decontaminate: ContaminationParams | None = None
    """Evaluation sets that no document may hold."""
    pii: PiiParams | None = None
    """Personal data that is masked, or drops its document; null keeps all."""
    max_drop: float | None = Field(None, ge=0, le=1)
    """Largest share of the records that ingest may drop; above it the job stops."""
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
