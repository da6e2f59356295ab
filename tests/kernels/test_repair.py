from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixcurate.kernels.repair import repair, repair_text
from tests.documents import real_documents

SENTENCES = [
    "Où est l'été? — «Là-bas», dit-il… naïve façade à 20 €",
    "Größe, Äpfel und „Straßen“",
    "På svenska: åäö ÅÄÖ",
    "Привет, мир № 5",
    "Ελληνικά: άνθρωπος",
    "日本語のテキスト",
    "ภาษา\u200bไทย",
    "می\u200cخواهم",
    "œuf, œ, 5 ±½ °C m² m³",
]
ENCODINGS = ["latin-1", "cp1252", "cp1250", "cp1251", "cp1253", "cp1257", "mac-roman", "cp437"]


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def damaged(text: str, encoding: str) -> str:
    """``text`` as a program shows it that takes its UTF-8 for something else."""
    return text.encode().decode(encoding, "replace")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("voilÃ\xa0 lâ€™Ã©tÃ©", "voilà l’été"),
        ("a\r\nb\rc\u2028d\u2029e", "a\nb\nc\nd\ne"),
        ("\ufeffone\x00two\x1b[31mred\x1b[0m\x07", "onetwored"),
        ("in\u00adter\u2060nal\u200b, yes", "internal, yes"),
        ("ภาษา\u200bไทย", "ภาษา\u200bไทย"),
        ("Cafe\u0301 \u212b", "Café Å"),
        ("it\x92s \x93so\x94", "it’s “so”"),
        ("a\u00ad\u0301", "á"),
    ],
)
def test_damage_is_repaired(text, expected):
    found = repair(column(["", text, "whole"]))
    assert found.text.to_pylist() == ["", expected, "whole"]
    assert found.changed.tolist() == [False, expected != text, False]


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES,
        "“curly” ‘quotes’ – and … stay",
        "&amp; &lt;b&gt; &eacute;",
        "ﬁne ligature ＬＯＵＤ",
        "tab\tline\n\n form\x0cfeed no\xa0break",
        "👩\u200d👩\u200d👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤\ufe0f",
        "שלום \u200fعليكم\u200e",
        "\ufffd stays lost",
    ],
)
def test_what_is_whole_is_not_touched(text):
    texts = column([text])
    found = repair(texts)
    assert found.text is texts
    assert not found.changed.any()


letters = st.sampled_from(
    "aZ .\nÃÂâ€™œ°Ð×²ØÙà½√≈‚вЂВГРС\x85\xa0\xad\x92é\u0301\u200b\ufeff\r\x00\x1b[m«»€Åå"
)


@settings(deadline=None, max_examples=120)
@given(
    st.lists(
        st.text(letters | st.characters(codec="utf-8"), max_size=30)
        | st.builds(damaged, st.sampled_from(SENTENCES), st.sampled_from(ENCODINGS)),
        max_size=5,
    ),
    st.integers(0, 2),
)
@example(["One.\nÂ Two", "1\nÃ la"], 0)
def test_a_batch_is_repaired_as_each_of_its_texts(texts, skipped):
    found = repair(column(texts)[skipped:])
    expected = [repair_text(text) for text in texts[skipped:]]
    assert found.text.to_pylist() == expected
    assert found.changed.tolist() == [
        before != after for before, after in zip(texts[skipped:], expected, strict=True)
    ]
    assert all(unicodedata.is_normalized("NFC", text) for text in expected)


def test_real_documents_are_whole_and_come_back_from_damage():
    texts = [document["text"] for document in real_documents(40)]
    whole = repair(column(texts))
    assert not whole.changed.any()
    accented = [f"{text} {SENTENCES[i % 3]}" for i, text in enumerate(texts)]
    broken = column([damaged(text, "latin-1") for text in accented])
    found = repair(broken)
    assert found.changed.all()
    assert found.text.to_pylist() == accented


def test_no_texts():
    assert len(repair(column([])).text) == 0
