"""How far the default transliteration is from Unidecode's.

`python -m tests.labels.transliterations`

Counts on the lyrics and names of the golden data, and on 10,000 names of people in 40 languages,
which the package Faker (`pip install faker`) makes up from a seed. Needs Unidecode.
"""

import json
from collections.abc import Iterable

from jukebox_hf.labels.transliteration import with_anyascii, with_unidecode
from jukebox_hf.labels.vocabularies import fold
from tests.golden_data import GOLDEN_ROOT

LOCALES = (
    *("ar_SA", "az_AZ", "bg_BG", "bn_BD", "cs_CZ", "da_DK", "de_DE", "el_GR", "en_GB"),
    *("es_ES", "et_EE", "fa_IR", "fi_FI", "fr_FR", "ga_IE", "he_IL", "hi_IN", "hr_HR"),
    *("hu_HU", "hy_AM", "it_IT", "ja_JP", "ka_GE", "ko_KR", "lt_LT", "lv_LV", "nl_NL"),
    *("no_NO", "pl_PL", "pt_BR", "ro_RO", "ru_RU", "sk_SK", "sl_SI", "sv_SE", "ta_IN"),
    *("th_TH", "tr_TR", "uk_UA", "vi_VN", "zh_CN", "zh_TW"),
)
NAMES = 10_000


def golden_strings() -> list[str]:
    """Every text in the descriptions of the golden files."""
    found: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict):
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    for path in sorted(GOLDEN_ROOT.rglob("*.json")):
        collect(json.loads(path.read_text(encoding="utf-8")))
    return sorted(found)


def made_up_names() -> dict[str, list[str]]:
    """Names by language, `NAMES` in all."""
    from faker import Faker

    names: dict[str, list[str]] = {}
    each = -(-NAMES // len(LOCALES))
    for number, locale in enumerate(LOCALES):
        faker = Faker(locale)
        faker.seed_instance(number)
        wanted = min(each, NAMES - sum(map(len, names.values())))
        names[locale] = [faker.name() for _ in range(wanted)]
    return names


def differing(texts: Iterable[str]) -> list[str]:
    """The texts that do not become the same words: case, blanks and signs aside, as names are."""

    def words(text: str) -> str:
        return fold(text).replace(" ", "")

    return [t for t in texts if words(with_anyascii(t)) != words(with_unidecode(t))]


def exactly_differing(texts: Iterable[str]) -> list[str]:
    """The texts that do not become the same characters, as lyrics are."""
    return [text for text in texts if with_anyascii(text) != with_unidecode(text)]


def main() -> None:
    golden = golden_strings()
    print(f"golden strings: {len(exactly_differing(golden))} of {len(golden)} differ")
    names = made_up_names()
    everything = [name for group in names.values() for name in group]
    for what, count in (("characters", exactly_differing), ("words", differing)):
        print(f"names: {len(count(everything))} of {len(everything)} differ in {what}")
        parts = {locale: len(count(group)) for locale, group in names.items()}
        print("  " + ", ".join(f"{k} {v}/{len(names[k])}" for k, v in parts.items() if v))


if __name__ == "__main__":
    main()
