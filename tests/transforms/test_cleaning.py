from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io.readers import InputParams
from mixcurate.io.records import RawBatch, Rejection
from mixcurate.kernels import filters, hashing
from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.signals import SIGNALS, text_signals
from mixcurate.models.embedded import tekken
from mixcurate.tables import RAW, REJECTED, documents_schema
from mixcurate.transforms.cleaning import Cleaned, Cleaner, params_for

GOOD = (
    "The committee that met on Tuesday agreed to build the new library with money of the town, "
    "and the architects have until March to show their plans. "
)
DOCUMENT = """\
The committee that met on Tuesday agreed to build the new library with money of the town.
Architects have until March to show their plans, and people may say what they think of them.
A first sketch has large windows to the south and a garden on the roof.
Some would rather keep the old house near the river, which was a school until the war.
Whoever wants to help can come to the market on Saturday; there will be coffee."""
GERMAN = """\
Der Ausschuss hat am Dienstag beschlossen, die neue Bücherei mit dem Geld der Stadt zu bauen.
Bis März sollen die Architekten ihre Pläne zeigen, und jeder darf sagen, was er davon hält.
Ein erster Entwurf hat große Fenster nach Süden und einen Garten auf dem Dach.
Manche möchten lieber das alte Haus am Fluss behalten, das bis zum Krieg eine Schule war.
Wer helfen will, kommt am Samstag auf den Markt; es gibt dort auch Kaffee und Kuchen."""

#: One document for each rule of Gopher that is the first it fails.
BAD = {
    "filter_n_words": "The end of the story and no more.",
    "filter_mean_word_length": "to be or it is so we go on " * 20,
    "filter_symbol_word_ratio": "#library " * 30 + DOCUMENT,
    "filter_bullet_lines": "\n".join(f"- the library and room {i} of the town" for i in range(20)),
    "filter_ellipsis_lines": "\n".join(f"{GOOD}{i} read more..." for i in range(4)),
    "filter_alpha_words": DOCUMENT + " 12345 67890" * 40,
    "filter_stop_words": "library building architect committee money plans rooms windows " * 10,
    "filter_duplicate_lines": "\n".join([GOOD + "Same."] * 3 + [GOOD]),
    "filter_duplicate_line_chars": "\n".join(
        [DOCUMENT] + [GOOD * 3 + "Repeated."] * 2 + ["a", "b"]
    ),
}


def raw(texts: list[str], rejected: list[Rejection] | None = None, **columns: list) -> RawBatch:
    n = len(texts)
    values = {
        "position": list(range(10, 10 + n)),
        "own_id": [None] * n,
        "text": texts,
        "url": [None] * n,
        "licence": [None] * n,
        "metadata": [None] * n,
    } | columns
    arrays = [pa.array(values[field.name], field.type) for field in RAW]
    return RawBatch(pa.RecordBatch.from_arrays(arrays, schema=RAW), rejected or [])


def clean(
    batch: RawBatch, licence: str | None = None, index: str | None = None, **params: object
) -> Cleaned:
    ingest = IngestParams.model_validate({"dedup": {"paragraphs": False}} | params)
    cleaner = Cleaner(
        source="crawl",
        licence=licence,
        path="crawl/a.jsonl",
        params=ingest,
        threads=1,
        index=index,
    )
    cleaned = cleaner.clean(batch, stage="ingest")
    assert cleaned.documents.schema.equals(documents_schema(list(SIGNALS)))
    assert batch.documents.num_rows + len(batch.rejected) == (
        cleaned.documents.num_rows + len(cleaned.rejected)
    )
    pa.Table.from_pylist(cleaned.rejected, schema=REJECTED).validate(full=True)
    cleaned.documents.validate(full=True)
    return cleaned


def reasons(cleaned: Cleaned) -> dict[str, int]:
    return dict(Counter(str(row["reason"]) for row in cleaned.rejected))


def test_a_good_document_stays():
    cleaned = clean(raw([DOCUMENT]))
    assert cleaned.rejected == []
    assert cleaned.documents.column("text").to_pylist() == [DOCUMENT]


@pytest.mark.parametrize("reason", BAD)
def test_each_filter_drops_its_document_and_keeps_its_neighbours(reason):
    cleaned = clean(raw([DOCUMENT, BAD[reason], DOCUMENT + " More."]))
    assert cleaned.documents.column("position").to_pylist() == [10, 12]
    (row,) = cleaned.rejected
    assert (row["reason"], row["position"]) == (reason, 11)
    assert row["excerpt"] == BAD[reason].strip()[:200]
    name = reason.removeprefix("filter_")
    value = text_signals(pa.array([BAD[reason].strip()], pa.large_string())).column(name)[0].as_py()
    assert row["detail"] == filters.describe(name, value, filters.PRESETS["gopher"][name])


def test_one_batch_with_every_reason_is_counted_right():
    texts = [*BAD.values(), "", " \n ", "x" * 5_000, GERMAN, DOCUMENT, DOCUMENT]
    broken = [Rejection.of(3, "invalid_json", "line 3", "{"), Rejection.of(4, "no_text", "field")]
    cleaned = clean(raw(texts, broken), languages=["en"], max_document_bytes=4_000)
    assert reasons(cleaned) == dict.fromkeys(BAD, 1) | {
        "empty": 2,
        "too_large": 1,
        "language": 1,
        "invalid_json": 1,
        "no_text": 1,
    }
    assert cleaned.documents.num_rows == 2


def test_what_the_reader_rejected_is_passed_on_without_an_id():
    cleaned = clean(raw([], [Rejection.of(7, "invalid_json", "line 7", "{oops")]))
    assert cleaned.rejected == [
        {
            "id": None,
            "source": "crawl",
            "path": "crawl/a.jsonl",
            "position": 7,
            "stage": "ingest",
            "reason": "invalid_json",
            "detail": "line 7",
            "excerpt": "{oops",
            "n_bytes": None,
            "n_tokens": None,
        }
    ]


def test_the_limit_of_bytes_counts_utf8_and_holds_exactly():
    texts = ["é" * 50, "é" * 50 + "x"]
    cleaned = clean(raw(texts), max_document_bytes=100, filters=None)
    assert cleaned.documents.column("n_bytes").to_pylist() == [100]
    assert reasons(cleaned) == {"too_large": 1}
    assert cleaned.rejected[0]["detail"] == "above max_document_bytes 100"


@pytest.mark.parametrize(
    ("languages", "kept"), [([], 2), (["en"], 1), (["de", "en"], 2), (["fr"], 0)]
)
def test_only_wanted_languages_stay(languages, kept):
    cleaned = clean(raw([DOCUMENT, GERMAN]), languages=languages)
    assert cleaned.documents.num_rows == kept
    assert reasons(cleaned) == ({"language": 2 - kept} if kept < 2 else {})
    if languages == ["en"]:
        assert cleaned.rejected[0]["detail"] == "identified as de with probability 1.00"


def test_an_unsure_language_is_dropped_only_where_languages_are_asked_for():
    texts = raw(["12345 67890 12345"])
    assert reasons(clean(texts, languages=["zxx", "en"], filters=None)) == {"language": 1}
    sure = clean(texts, languages=["zxx", "en"], filters=None, min_language_score=0.0)
    assert reasons(sure) == {}
    assert reasons(clean(texts, filters=None)) == {}


def test_the_columns_of_a_document_are_those_of_its_text():
    text = f"\n\t {DOCUMENT}\u3000\n"
    batch = raw([text], url=["https://example.org/"], licence=["cc-by-4.0"], metadata=['{"a":1}'])
    (row,) = clean(batch, licence="unknown").documents.to_pylist()
    assert row["text"] == DOCUMENT
    ids = hashing.document_ids("crawl", "crawl/a.jsonl", np.array([10]))
    assert row["id"] == ids[0].as_py()
    assert (row["source"], row["path"], row["position"]) == ("crawl", "crawl/a.jsonl", 10)
    assert (row["url"], row["metadata"]) == ("https://example.org/", '{"a":1}')
    assert row["licence"] == "CC-BY-4.0"
    assert row["language"] == "en"
    assert row["language_score"] > 0.5
    assert row["n_tokens"] == len(tekken().encode_ordinary(DOCUMENT))
    assert row["n_bytes"] == len(DOCUMENT.encode())
    stored = pa.array([DOCUMENT], pa.large_string())
    assert row["content_hash"] == hashing.content_hashes(stored)[0].as_py()
    signals = text_signals(stored).to_pylist()[0]
    assert {name: row[f"signal_{name}"] for name in SIGNALS} == signals


def test_the_licence_of_the_input_fills_in_where_a_document_names_none():
    batch = raw([DOCUMENT, DOCUMENT], licence=["mit", None])
    filled = clean(batch, licence="cc0").documents.column("licence").to_pylist()
    assert filled == ["MIT", "CC0-1.0"]
    assert clean(batch).documents.column("licence").to_pylist() == ["MIT", None]


def test_only_allowed_licences_stay():
    batch = raw([DOCUMENT] * 4, licence=["cc-by-4.0", None, "CC BY-NC 4.0", "MIT"])
    cleaned = clean(batch, licences=["permissive"])
    assert cleaned.documents.column("licence").to_pylist() == ["CC-BY-4.0", "MIT"]
    assert [(row["position"], row["detail"]) for row in cleaned.rejected] == [
        (11, "licence unknown (unknown) is not in ingest.licences"),
        (12, "licence CC-BY-NC-4.0 (non_commercial) is not in ingest.licences"),
    ]


def test_texts_are_repaired_before_anything_is_told_of_them():
    (row,) = clean(raw([DOCUMENT.replace("committee", "comitÃ©")])).documents.to_pylist()
    assert "comité that" in row["text"]
    assert row["n_bytes"] == len(row["text"].encode())
    kept = clean(raw([DOCUMENT.replace("committee", "comitÃ©")]), repair=False)
    assert "comitÃ©" in kept.documents.column("text")[0].as_py()


def test_lines_that_are_no_content_go_before_signals_are_computed():
    cleaned = clean(raw([f"{DOCUMENT}\nRead our privacy policy now.", DOCUMENT]), filters="c4")
    assert [text.count("policy") for text in cleaned.documents.column("text").to_pylist()] == [0, 0]
    assert cleaned.changed == {"boilerplate": 1}
    kept = clean(raw([f"{DOCUMENT}\nRead our privacy policy now."]), filters="c4", boilerplate=[])
    assert (
        kept.documents.column("signal_n_words")[0].as_py()
        == cleaned.documents.column("signal_n_words")[0].as_py() + 5
    )


def test_a_document_of_nothing_but_boilerplate_is_rejected():
    cleaned = clean(raw(["Home | News | Contact\nShare"]), boilerplate=["short", "navigation"])
    assert reasons(cleaned) == {"empty": 1}
    assert cleaned.rejected[0]["detail"] == "all lines are boilerplate"


def test_paragraphs_that_repeat_are_taken_out_unless_duplicates_are_kept():
    text = f"{GOOD * 2}\n{DOCUMENT}\n{GOOD * 2}"
    cleaned = clean(raw([text]), filters=None, dedup={})
    assert cleaned.documents.column("text")[0].as_py() == f"{GOOD * 2}\n{DOCUMENT}"
    assert cleaned.changed == {"paragraphs": 1}
    for dedup in (None, {"paragraphs": False}):
        kept = clean(raw([text]), filters=None, dedup=dedup)
        assert kept.documents.column("text")[0].as_py() == text.strip()


def test_personal_data_is_masked_or_drops_its_document():
    text = f"{DOCUMENT} Write to ann.lee@web.de today."
    cleaned = clean(raw([text, DOCUMENT]), pii={"emails": "mask"})
    assert "Write to <EMAIL> today." in cleaned.documents.column("text")[0].as_py()
    assert cleaned.changed == {"pii": 1}
    dropped = clean(raw([text, DOCUMENT]), pii={"emails": "drop"})
    assert reasons(dropped) == {"pii": 1}
    assert dropped.documents.num_rows == 1


def test_an_input_has_its_own_languages_filters_and_extractor():
    params = IngestParams(languages=["en"], filters="gopher")
    source = InputParams(path="a", languages=[], filters="none", extractor="resiliparse")
    own = params_for(params, source)
    assert (own.languages, own.filters, own.extractor) == ([], "none", "resiliparse")
    assert params_for(params, InputParams(path="a")) == params


def test_an_own_id_is_kept_also_of_a_rejected_document():
    cleaned = clean(raw([DOCUMENT, "", DOCUMENT], own_id=["mine", "gone", None]))
    hashed = hashing.document_ids("crawl", "crawl/a.jsonl", np.array([12]))[0].as_py()
    assert cleaned.documents.column("id").to_pylist() == ["mine", hashed]
    assert cleaned.rejected[0]["id"] == "gone"


def test_an_excerpt_is_cut_by_characters_not_inside_of_one():
    (row,) = clean(raw(["🙂" * 300])).rejected
    assert row["excerpt"] == "🙂" * 200


@pytest.mark.parametrize("texts", [[], ["", " "], ["too short"]])
def test_a_batch_of_which_nothing_stays_has_the_schema(texts):
    assert clean(raw(texts)).documents.num_rows == 0


def test_own_thresholds_are_reasons_too():
    cleaned = clean(
        raw([DOCUMENT, BAD["filter_n_words"]]), filters=None, thresholds={"n_words": [9, None]}
    )
    assert reasons(cleaned) == {"filter_n_words": 1}
    assert cleaned.rejected[0]["detail"] == "n_words 8 is below 9"


TEXTS = st.sampled_from([*BAD.values(), "", "  ", "x" * 5_000, GERMAN, DOCUMENT, f" {DOCUMENT}\n"])


@given(st.lists(TEXTS, max_size=8), st.sampled_from([[], ["en"], ["de"]]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_documents_and_rejections_do_not_depend_on_the_batch(texts, languages, strict):
    params = {"languages": languages, "filters": "fineweb" if strict else "gopher"}
    batch = raw(texts)
    whole = clean(batch, **params, max_document_bytes=4_000)
    alone = [
        clean(RawBatch(batch.documents.slice(i, 1), []), **params, max_document_bytes=4_000)
        for i in range(len(texts))
    ]
    assert whole.documents.to_pylist() == [r for one in alone for r in one.documents.to_pylist()]
    positions = {row["position"]: row for row in whole.rejected}
    assert positions == {row["position"]: row for one in alone for row in one.rejected}
