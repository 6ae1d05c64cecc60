"""The metadata at the top of a card: what somebody wrote stays as it stands, to the byte.

YAML takes `no` for false and `0123` for 83, so the text that is there is never parsed and written
again: new keys are added to it, and only those whose value is another are replaced.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

# Lists of names, to which ours are added.
NAMES = ("tags", "datasets")


def split_card(content: str) -> tuple[str, str]:
    """The YAML at the top of a card, without its fences, and what follows; "" if there is none."""
    match = REGEX_YAML_BLOCK.search(content)
    if match is None or content[: match.start()].strip():
        return "", content
    return match.group(2), content[match.end() :]


def merged_metadata(old: str, new: Mapping[str, Any]) -> str:
    """Old YAML with new values in it.

    >>> print(merged_metadata("language: no\\ntags: [0123]", {"tags": ["music"], "license": "mit"}))
    language: no
    tags: [0123, music]
    license: mit

    Raises:
        ValueError: if the old metadata is no YAML, or not a mapping.
    """
    values = read_as_written(old)
    root = yaml.compose(old, Loader=yaml.BaseLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return _dump({**values, **_changed(values, new)})
    starts = [key.start_mark.index for key, _ in root.value]
    parts = {
        key.value: old[start:end]
        for (key, _), start, end in zip(root.value, starts, [*starts[1:], len(old)], strict=True)
    }
    head = old[: starts[0]]
    nodes = {key.value: (key.start_mark.index, value) for key, value in root.value}
    for name, value in _changed(values, new).items():
        if value is None:
            parts.pop(name, None)
        elif name in NAMES and isinstance(nodes.get(name, (0, None))[1], yaml.SequenceNode):
            start, node = nodes[name]
            added = value[len(values[name]) :]
            parts[name] = _extended(parts[name], node, start, added)
        else:
            parts[name] = _dump({name: value}) + "\n"
    lines = (part if part.endswith("\n") else part + "\n" for part in parts.values())
    return (head + "".join(lines)).rstrip("\n")


def read_as_written(metadata: str) -> dict[str, Any]:
    """A mapping whose scalars are the text that stands there.

    Raises:
        ValueError: if it is something else.
    """
    try:
        values = yaml.load(metadata, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(_unreadable(" ".join(str(error).split())[:300])) from error
    if values in (None, ""):
        return {}
    if not isinstance(values, dict):
        raise ValueError(_unreadable("it is not a mapping"))
    return values


def _unreadable(reason: str) -> str:
    return f"README.md: the metadata at its top cannot be read ({reason}); correct it there first"


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What of the new metadata the old lacks or contradicts; `None`: to be removed."""
    changed: dict[str, Any] = {}
    for name, value in new.items():
        known = old.get(name)
        if name in NAMES and known:
            names = [known] if isinstance(known, str) else list(known)
            value = [*names, *(each for each in value if str(each) not in names)]
        if name == "configs" and known:
            continue  # the table may have been pushed in another form
        if name == "model-index" and known and _model_names(known) != _model_names(value):
            continue  # somebody's own figures
        if known != _as_written(value):
            changed[name] = value
    if new.get("license") not in (None, "other") and old.get("license") == "other":
        changed |= {name: None for name in ("license_name", "license_link") if name in old}
    return changed


def _model_names(index: Any) -> list[Any]:
    return [one.get("name") if isinstance(one, dict) else one for one in index]


def _as_written(value: Any) -> Any:
    return yaml.load(_dump({"value": value}), Loader=yaml.BaseLoader)["value"]


def _extended(part: str, node: yaml.SequenceNode, start: int, added: Iterable[Any]) -> str:
    """The text of a list with more entries."""
    texts = [_dump(each).removesuffix("...").strip() for each in added]
    if node.flow_style:
        end = node.end_mark.index - start - 1
        comma = ", " if node.value else ""
        return part[:end].rstrip() + comma + ", ".join(texts) + part[end:]
    last = node.value[-1]
    end = part.find("\n", last.end_mark.index - start - 1)
    end = len(part) if end < 0 else end
    indent = " " * (node.start_mark.column)
    return part[:end] + "".join(f"\n{indent}- {text}" for text in texts) + part[end:]


def _dump(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6)
    return text.rstrip("\n")
