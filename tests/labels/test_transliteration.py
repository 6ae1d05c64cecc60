"""The transliteration that is installed by default, beside the one that the original used."""

import pytest

from jukebox_hf.labels import transliteration
from jukebox_hf.labels.transliteration import is_exact, to_ascii, with_anyascii, with_unidecode

needs_unidecode = pytest.mark.skipif(
    not is_exact(), reason="Unidecode (extra `exact-lyrics`) is not installed"
)
EUROPEAN = [
    *(chr(code) for code in range(0xC0, 0x180) if chr(code).isalpha()),
    *"\u2018\u2019\u201a\u201c\u201d\u201e\u2013\u2014\u2026«»€œŒȘșȚț",
    *(chr(code) for code in range(0x410, 0x450)),
]


@needs_unidecode
def test_european_letters_are_the_same_but_for_one() -> None:
    different = [c for c in EUROPEAN if with_anyascii(c).lower() != with_unidecode(c).lower()]
    assert different == ["\u0138"]  # kra, of the former spelling of Greenlandic


def test_words_of_the_default() -> None:
    assert with_anyascii("Sigur Rós \u2013 “Hoppípolla”…") == 'Sigur Ros - "Hoppipolla"...'
    assert with_anyascii("坂本 한국 Дима") == "Ban Ben  hangug Dima"
    assert with_anyascii("a\ud800b") == "ab"
    assert with_anyascii("plain text\n\t") == "plain text\n\t"


@needs_unidecode
def test_unidecode_is_used_where_it_is_installed() -> None:
    transliteration._transliterate.cache_clear()
    assert to_ascii("½ 坂") == with_unidecode("½ 坂")


def test_without_unidecode_the_default_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transliteration, "is_exact", lambda: False)
    transliteration._transliterate.cache_clear()
    try:
        assert to_ascii("Ænima") == with_anyascii("Ænima")
    finally:
        transliteration._transliterate.cache_clear()
