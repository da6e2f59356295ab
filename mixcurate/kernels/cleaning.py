"""Parameters of ingest: which documents are kept, what is taken out of them, how large a part is.

They are apart from the code that uses them, so that a recipe is read without it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize, Field, PositiveInt, field_validator

from mixcurate.errors import nearest
from mixcurate.params import Params

LineRule = Literal[
    "citations",
    "long_words",
    "unpunctuated",
    "short",
    "javascript",
    "policy",
    "navigation",
    "counters",
]

PiiKind = Literal["keys", "emails", "ips", "ibans", "cards", "phones"]
PiiAction = Literal["keep", "mask", "drop"]

#: What a mask is unless the recipe says otherwise.
MASKS: dict[PiiKind, str] = {
    "keys": "<KEY>",
    "emails": "<EMAIL>",
    "ips": "<IP>",
    "ibans": "<IBAN>",
    "cards": "<CARD>",
    "phones": "<PHONE>",
}


class NearParams(Params):
    """Which texts count as nearly the same: MinHash-LSH over word n-grams."""

    ngram: PositiveInt = Field(5, le=64)
    """Words in an n-gram."""
    bands: PositiveInt = Field(14, le=256)
    """Bands; texts that agree in one of them are duplicates."""
    rows: PositiveInt = Field(8, le=64)
    """Minima in a band, all of which must agree."""
    threshold: float | None = Field(None, gt=0, lt=1)
    """Jaccard similarity at which half of all pairs are found; it chooses `bands` and `rows`."""


class DedupParams(Params):
    """Which duplicates are dropped: of documents that any of these links, one survives."""

    exact: bool = True
    """Link documents whose words are the same in the same order, whatever the case, punctuation
    and white space; documents without any word go by their bytes."""
    url: bool = False
    """Link documents of the same URL; scheme, `www.`, fragment, tracking parameters, the order of
    parameters and slashes at the end do not count."""
    near: NearParams | None = NearParams()
    """Link documents that share most word n-grams (MinHash-LSH); null is off."""
    keep: Literal["longest", "quality"] = "longest"
    """Which of linked documents survives: the one of most bytes, or of the best heuristic quality.
    Ties go by the text's hash, then by the smallest id."""
    paragraphs: bool = True
    """Take paragraphs out of a document that repeat an earlier one of it."""
    against: list[str] = Field(default=[])
    """Workdirs of earlier runs: what is linked to a document that they kept is dropped."""


class EvalSetParams(Params):
    """One evaluation set, given as files."""

    path: str
    """File, folder or pattern; JSON Lines, a JSON array, CSV, TSV, Parquet or Arrow."""
    name: str | None = None
    """What the set is called in tables; by default its path."""
    fields: list[str] = Field(default=[])
    """Fields whose texts make up an item, `question` or `choices.text`; by default all texts."""


class ContaminationParams(Params):
    """Removal of documents that hold items of evaluation sets."""

    sets: list[EvalSetParams] = Field(min_length=1)
    """The evaluation sets."""
    ngram: int = Field(13, ge=2, le=64)
    """Words in a row that a document and an item must share; usual are 8, 10, 12 and 13."""
    min_words: int = Field(8, ge=2, le=64)
    """Items of fewer words than an n-gram count if a document holds them whole; those of fewer than
    this are not searched, for such phrases occur everywhere."""
    min_overlap: float = Field(0.0, ge=0, le=1)
    """Least share of an item's n-grams that a document must hold; 0 is any single one."""
    template_items: int = Field(10, ge=1)
    """An n-gram that more items of its set share is no evidence: it is the set's template, as in
    "which of the following is the best answer to". Equal items count once."""
    template_share: float = Field(0.01, ge=0, le=1)
    """In large sets that many items, as a share of the set, may share an n-gram: passages are asked
    about more than once."""
    action: Literal["drop", "span"] = "drop"
    """`drop` removes the document, `span` only the shared words, and the document if no word is
    left."""


class PiiParams(Params):
    """What happens to personal data: `keep` it, `mask` it, or `drop` the document."""

    emails: PiiAction = "keep"
    """Addresses such as `ann@web.de`; not those of example.com or `git@`."""
    ips: PiiAction = "keep"
    """IPv4 and IPv6 addresses that are routed publicly; private and reserved ones stay."""
    phones: PiiAction = "keep"
    """Numbers that are valid in their country, with `+` and the country's code; of countries in
    `phone_regions` also as they are written inside the country."""
    keys: PiiAction = "keep"
    """Private keys and access tokens (AWS, GitHub, GitLab, Google, Slack, Stripe, OpenAI, …, and
    JSON web tokens)."""
    cards: PiiAction = "keep"
    """Numbers of payment cards with a valid check digit."""
    ibans: PiiAction = "keep"
    """International bank account numbers with valid check digits."""
    phone_regions: list[str] = Field(default=[])
    """Countries (ISO 3166, `US`) whose national numbers are searched too. Each makes the search
    slower and finds more numbers that are none."""
    masks: dict[PiiKind, str] = Field(default={})
    """Other text for a mask; by default `<EMAIL>`, `<IP>`, `<PHONE>`, `<KEY>`, `<CARD>`, `<IBAN>`.
    FineWeb wrote `email@example.com`."""

    @field_validator("phone_regions")
    @classmethod
    def _known(cls, regions: list[str]) -> list[str]:
        from phonenumbers import SUPPORTED_REGIONS

        for region in regions:
            if region not in SUPPORTED_REGIONS:
                close = nearest(region.upper(), SUPPORTED_REGIONS) if len(region) == 2 else ""
                raise ValueError(f"{region!r} is no country code of two capital letters; {close}")
        return regions

    def actions(self) -> dict[PiiKind, PiiAction]:
        """What is done with each kind that is not kept, in the order in which it is done."""
        wanted: dict[PiiKind, PiiAction] = {kind: getattr(self, kind) for kind in MASKS}
        return {kind: action for kind, action in wanted.items() if action != "keep"}


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
