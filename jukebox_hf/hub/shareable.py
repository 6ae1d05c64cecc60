"""What of a folder is shared: the files that make up a component, an adapter or a dataset of codes.

Only files that the layout knows are ever uploaded or copied: no checkpoints of a run, no code, no
pickles. Each is checked before.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from jukebox_hf.files import find_here
from jukebox_hf.hub.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, NEW_ROWS, read_adapter
from jukebox_hf.hub.loading import INDEX, check_weights, read_config, weight_files
from jukebox_hf.hub.locations import FEATURE_EXTRACTOR_FILE
from jukebox_hf.hub.manifest import FINAL, MANIFEST_NAME, ComponentReference
from jukebox_hf.hub.training_facts import TRAINING_FILE, load_training_facts
from jukebox_hf.labels import PriorProcessor
from jukebox_hf.labels.storage import CONFIG_FILE, VOCABULARY_FILE
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.records import read_json
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

Kind = Literal["system", "component", "adapter", "codes", "features"]
CODES_FILE, CODES_STATE = "jukebox_codes.json", "state.json"
CODES_PATTERNS = (CODES_FILE, CODES_STATE, "dataset_info.json", "codes-*.arrow")
FEATURES_FILE, TABLES_PATTERN = "embed.json", "data/*.parquet"
TABLE_BYTES = 500_000_000  # of one file of a table, before it is packed
PROCESSOR_FILES = (CONFIG_FILE, VOCABULARY_FILE)
RIGHTS_FILES = ("LICENSE", "ATTRIBUTION.md")  # of a whole model: they go where its weights go
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# The folders of an absolute path, of a home, or of a drive, up to the last name; not of addresses.
FOLDERS = re.compile(
    r"(?<![\w/:.~\\-])(?:~\w*|[A-Za-z]:)?[/\\](?:[^\s'\"/\\=,;]+[/\\])*(?=[^\s/\\])"
)
SETTINGS = ("config.json", *PROCESSOR_FILES, FEATURE_EXTRACTOR_FILE, TRAINING_FILE)


def kind_of(folder: Path) -> Kind:
    """What a folder holds.

    Raises:
        FileNotFoundError: if it is no folder.
        ValueError: if it is none of the kinds that can be shared.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected the folder of a model or of codes")
    if (folder / MANIFEST_NAME).is_file():
        return "system"
    if (folder / CODES_FILE).is_file():
        return "codes"
    if (folder / FEATURES_FILE).is_file():
        return "features"
    if (folder / ADAPTER_CONFIG).is_file():
        return "adapter"
    if (folder / "config.json").is_file():
        return "component"
    if (folder / FINAL / MANIFEST_NAME).is_file():
        raise ValueError(f"{folder}: is a training run; share its model, {folder / FINAL}")
    raise ValueError(
        f"{folder}: expected the {MANIFEST_NAME} of a model, the config.json of a component or the "
        f"{CODES_FILE} of a dataset of codes, found neither"
    )


def component_files(folder: Path) -> list[Path]:
    """The files of a VQ-VAE or prior whose config, weights and processor fit together.

    Raises:
        ValueError: if they do not, or are damaged.
        FileNotFoundError: if config or weights are missing.
    """
    config = _any_config(folder)
    check_weights(folder, config)
    if isinstance(config, PriorConfig):
        check_processor(folder, config)
    load_training_facts(folder)
    weights = weight_files(folder)
    index = [folder / INDEX] if weights[0].name != "model.safetensors" else []
    return [*_settings(folder), *index, *weights]


def adapter_files(folder: Path) -> list[Path]:
    """The files of an adapter that can be applied; raises as `component_files`."""
    read_adapter(folder)
    if (folder / "config.json").is_file():
        check_processor(folder, read_config(folder, PriorConfig))
    load_training_facts(folder)
    weights = [folder / name for name in (ADAPTER_WEIGHTS, NEW_ROWS) if (folder / name).is_file()]
    return [*_settings(folder), folder / ADAPTER_CONFIG, *weights]


def codes_files(folder: Path) -> list[Path]:
    """The files of a dataset of codes that is complete; raises `ValueError` otherwise.

    They are as `encode_dataset` leaves them, or tables as `write_tables` makes them.
    """
    tables = sorted(folder.glob(TABLES_PATTERN))
    if tables and not (folder / CODES_STATE).is_file():
        read_json(folder / CODES_FILE)
        return [folder / CODES_FILE, *tables]
    if not (folder / CODES_STATE).is_file():
        raise ValueError(
            f"{folder}: is not complete; run the same `jukebox encode --dataset` again, and all of "
            "its shards"
        )
    read_json(folder / CODES_FILE)
    found = {path for pattern in CODES_PATTERNS for path in folder.glob(pattern)}
    listed = read_json(folder / CODES_STATE).get("_data_files")
    names = [part.get("filename") for part in listed] if isinstance(listed, list) else []
    missing = [name for name in names if not (folder / str(name)).is_file()]
    if missing or not names:
        raise ValueError(f"{folder}: lacks {', '.join(map(str, missing)) or 'its tables'}")
    return sorted(found)


def write_tables(folder: Path, output: Path) -> None:
    """Write a complete dataset of codes as the tables that the Hub shows, with what describes it.

    As `datasets` does itself: `data/train-00000-of-00002.parquet` and so on, some songs in each.
    """
    import datasets

    table = datasets.load_from_disk(os.fspath(folder))
    number = min(len(table), -(-table.data.nbytes // TABLE_BYTES)) or 1
    (output / "data").mkdir()
    for index in range(number):
        path = output / "data" / f"train-{index:05d}-of-{number:05d}.parquet"
        table.shard(number, index, contiguous=True).to_parquet(path)
    for name in (CODES_FILE, "README.md"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)


def features_files(folder: Path) -> list[Path]:
    """The files of a dataset of features; raises `ValueError` for features in other files."""
    read_json(folder / FEATURES_FILE)
    tables = sorted(folder.glob(TABLES_PATTERN))
    if not tables:
        raise ValueError(
            f"{folder}: holds features, but no table of them; make it with `jukebox embed --format "
            "dataset`, and all of its shards"
        )
    return [folder / FEATURES_FILE, *tables]


def shared_content(path: Path, base: ComponentReference | None = None) -> Path | bytes:
    """What is shared of a file: the file itself, or its text without folders of this machine.

    `base` is where the prior of an adapter is on the Hub, for `adapter_config.json`.
    """
    if path.name == ADAPTER_CONFIG:
        content = read_json(path)
        stated = content.get("base_model_name_or_path")
        is_known = isinstance(stated, str) and is_repository(stated)
        if base is not None and base.repo_id is not None:
            content |= {"base_model_name_or_path": base.repo_id, "revision": base.revision}
        elif not is_known or find_here(str(stated)) is not None:
            content |= {"base_model_name_or_path": None, "revision": None}
    elif path.name in (TRAINING_FILE, CODES_FILE, FEATURES_FILE):
        content = without_folders(read_json(path))
    else:
        return path
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def without_folders(value: Any) -> Any:
    """Plain values whose texts name no folder of this machine, only what is in it.

    >>> without_folders({"command": "jukebox train --dataset /home/me/songs -o runs/mine"})
    {'command': 'jukebox train --dataset songs -o runs/mine'}
    """
    if isinstance(value, str):
        return FOLDERS.sub("", value)
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    if isinstance(value, dict):
        return {name: without_folders(each) for name, each in value.items()}
    return value


def is_repository(name: str | None) -> bool:
    """Whether that can be the name of a repository on the Hub, with its owner."""
    return name is not None and REPO_ID.fullmatch(name) is not None


def is_known_file(name: str) -> bool:
    """Whether a file of that name may be part of a component, adapter or dataset."""
    is_weights_or_table = name.endswith((".safetensors", ".parquet"))
    return name in (*SETTINGS, INDEX, ADAPTER_CONFIG) or is_weights_or_table


def inherited_from_parent(folder: Path) -> Path | None:
    """The folder of the model that a component's folder is part of, if it is."""
    parent = Path(os.path.abspath(folder)).parent
    return parent if (parent / MANIFEST_NAME).is_file() else None


def _any_config(folder: Path) -> VQVAEConfig | PriorConfig:
    path = folder / "config.json"
    if path.is_file() and read_json(path).get("model_type") == VQVAEConfig.model_type:
        return read_config(folder, VQVAEConfig)
    return read_config(folder, PriorConfig)


def check_processor(folder: Path, config: PriorConfig) -> None:
    """Raise `ValueError` if a prior's folder has a processor that is damaged or not the prior's."""
    if (folder / CONFIG_FILE).is_file():
        try:
            PriorProcessor.from_pretrained(folder).check(config)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error


def _settings(folder: Path) -> list[Path]:
    return [folder / name for name in SETTINGS if (folder / name).is_file()]
