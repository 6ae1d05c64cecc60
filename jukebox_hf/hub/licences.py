"""Licences of weights: what a manifest calls them, and what the metadata of a card calls them."""

from typing import Any

from jukebox_hf.hub.locations import Location
from jukebox_hf.hub.manifest import MANIFEST_NAME, OPENAI_LICENCE, load_manifest

CARD = "README.md"
LICENCE_NAME = "openai-noncommercial-use-license"
LICENCE_LINK = "https://github.com/openai/jukebox/blob/master/LICENSE"
MAX_CARD_BYTES = 5_000_000
# Identifiers that the Hub knows (https://huggingface.co/docs/hub/repositories-licenses), as far as
# they suit weights and music; others go by their name.
HUB_LICENCE_IDS = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause
    bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0
    cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 creativeml-openrail-m ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
    eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 mit mpl-2.0 ms-pl ncsa
    odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 pddl unknown unlicense wtfpl zlib
"""
HUB_LICENCES = frozenset(HUB_LICENCE_IDS.split())


def card_licence(licence: str | None) -> dict[str, Any]:
    """The fields of a card's metadata.

    >>> card_licence("CC-BY-4.0"), card_licence("ask me"), card_licence(None)
    ({'license': 'cc-by-4.0'}, {'license': 'other', 'license_name': 'ask me'}, {})
    """
    if licence is None:
        return {}
    if licence == OPENAI_LICENCE:
        return {"license": "other", "license_name": LICENCE_NAME, "license_link": LICENCE_LINK}
    if licence.lower() in HUB_LICENCES:
        return {"license": licence.lower()}
    return {"license": "other", "license_name": licence}


def stated_licence(location: Location) -> str | None:
    """The licence in the manifest at a place, or else in its card; `None` if neither says."""
    manifest = location.file(MANIFEST_NAME)
    if manifest is not None:
        return load_manifest(manifest).licence
    card = location.file(CARD)
    if card is None or card.stat().st_size > MAX_CARD_BYTES:
        return None
    return licence_in_card(card.read_text(encoding="utf-8", errors="replace"))


def licence_in_card(content: str) -> str | None:
    """The licence that the metadata of a card names; `None` if it names none.

    >>> licence_in_card("---\\nlicense: other\\nlicense_name: ask me\\n---\\n# Model")
    'ask me'
    """
    import yaml
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    match = REGEX_YAML_BLOCK.search(content)
    try:
        metadata = yaml.safe_load(match.group(2)) if match else None
    except (yaml.YAMLError, RecursionError):
        return None
    if not isinstance(metadata, dict):
        return None
    licence, name = metadata.get("license"), metadata.get("license_name")
    if name == LICENCE_NAME:
        return OPENAI_LICENCE
    found = name if licence == "other" else licence
    return found if isinstance(found, str) and 0 < len(found) <= 200 else None
