"""The files of a session: its record, and the codes of its takes with their checksums.

A record (plain JSON values) and codes go to disk, each file whole or not at all, and come back
checked. What the record says is `session`'s business.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jukebox_hf.codes import Codes, load_codes, save_codes
from jukebox_hf.files import PARTIAL_SUFFIX, write_text

FORMAT_VERSION = 1
RECORD_NAME = "session.json"
CODES_FOLDER = "codes"
PARTS_FOLDER = "parts"
PRIMER_FOLDER = "primers"
WINDOWS_KEY = "windows"


def is_session(folder: Path) -> bool:
    """Whether a folder holds a session."""
    return (folder / RECORD_NAME).is_file()


def read_parts(folder: Path) -> list[dict[str, Any]]:
    """What other processes have put down and the record does not know yet."""
    paths = sorted((folder / PARTS_FOLDER).glob("process_*.json"))
    try:
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / PARTS_FOLDER} holds a damaged file ({error})") from None


def write_part(folder: Path, process: int, part: dict[str, Any]) -> None:
    """Put down what belongs into the record, for the main process to take over."""
    path = part_path(folder, process)
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(part))


def remove_parts(folder: Path) -> None:
    """Delete what the record has taken over."""
    _remove(folder / PARTS_FOLDER, "process_*.json")


def read_record(folder: Path) -> dict[str, Any]:
    """The record of the session in `folder`.

    Raises `FileNotFoundError` for a folder without one, `ValueError` for a damaged one or one of a
    later version.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a session: it has no {RECORD_NAME}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: expected JSON ({error})") from None
    found = record.get("format_version") if isinstance(record, dict) else None
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {found}, but this version of jukebox_hf reads up to "
            f"{FORMAT_VERSION}; upgrade with `pip install -U jukebox-hf`"
        )
    if found != FORMAT_VERSION:
        raise ValueError(f"{path} is not the record of a session: no format_version")
    return record  # type: ignore[no-any-return]


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Replace the record of the session in `folder`; one line per window, for readers."""
    rest = {name: value for name, value in record.items() if name != WINDOWS_KEY}
    text = json.dumps(rest, ensure_ascii=False, indent=2)
    windows = ",\n    ".join(json.dumps(entry) for entry in record[WINDOWS_KEY])
    listed = f"[\n    {windows}\n  ]" if windows else "[]"
    text = f'{text.removesuffix("}").rstrip()},\n  "{WINDOWS_KEY}": {listed}\n}}\n'
    write_text(folder / RECORD_NAME, text)


def remove_partial_files(folder: Path) -> None:
    """Delete what a killed process left half written."""
    for path in (*folder.glob(f"*{PARTIAL_SUFFIX}"), *folder.glob(f"*/*{PARTIAL_SUFFIX}")):
        path.unlink(missing_ok=True)


def codes_path(folder: Path, number: int) -> Path:
    """Where the codes of a take are."""
    return folder / CODES_FOLDER / f"take_{number:02d}.safetensors"


def chain_path(folder: Path, number: int, level: int, chain: int) -> Path:
    """Where one chain of a level of a take is; each has its own file, so that several processes
    can write them."""
    return folder / CODES_FOLDER / f"take_{number:02d}_level_{level}_chain_{chain:02d}.safetensors"


def part_path(folder: Path, process: int) -> Path:
    """Where another process than the main one puts what belongs into the record."""
    return folder / PARTS_FOLDER / f"process_{process:02d}.json"


def primer_path(folder: Path, number: int) -> Path:
    """Where the audio that a take begins with waits to be encoded."""
    return folder / PRIMER_FOLDER / f"{number:02d}.wav"


def remove_primers(folder: Path) -> None:
    """Delete the audio of primers, once they are encoded."""
    _remove(folder / PRIMER_FOLDER, "*.wav")


def _remove(folder: Path, pattern: str) -> None:
    """Delete files in a folder, and the folder if it is empty then."""
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def alignment_path(folder: Path, number: int) -> Path:
    """Where a take's alignment waits for its audio."""
    return folder / CODES_FOLDER / f"take_{number:02d}_alignment.npz"


def checksum(codes: Tensor) -> str:
    """CRC-32 of codes (time,), over what a codes file stores of them."""
    return f"{zlib.crc32(codes.cpu().numpy().astype('<i2').tobytes()):08x}"


def save_take(folder: Path, number: int, codes: Codes) -> dict[str, dict[str, Any]]:
    """Write the codes of a take; returns what the record says about each level."""
    path = codes_path(folder, number)
    path.parent.mkdir(exist_ok=True)
    save_codes(path, codes)
    return {
        str(level): {"count": tensor.shape[1], "crc32": checksum(tensor[0])}
        for level, tensor in codes.levels.items()
    }


def load_take(
    folder: Path, number: int, entries: dict[str, dict[str, Any]], num_levels: int
) -> dict[int, Tensor]:
    """The codes (time,) of a take by level, as many as the record knows of.

    A file may hold more than the record: the process was stopped between writing the two. What is
    more is left out and made again.

    Raises `ValueError` for a file that is damaged or does not hold what the record says.
    """
    levels = {level: torch.zeros(0, dtype=torch.int64) for level in range(num_levels)}
    if not entries:
        return levels
    path = codes_path(folder, number)
    stored = _load(path)
    for level, entry in entries.items():
        tensor = stored.levels.get(int(level))
        levels[int(level)] = _checked(
            path, f"level {level}", None if tensor is None else tensor[0], entry
        )
    return levels


def save_chain(
    folder: Path,
    number: int,
    level: int,
    chain: int,
    codes: Tensor,
    hop_lengths: tuple[int, ...],
    sampling_rate: int,
) -> dict[str, Any]:
    """Write the codes (time,) of one chain; returns what the record says about it."""
    path = chain_path(folder, number, level, chain)
    path.parent.mkdir(exist_ok=True)
    save_codes(path, Codes({level: codes[None]}, hop_lengths, sampling_rate))
    return {"count": len(codes), "crc32": checksum(codes)}


def load_chains(
    folder: Path, number: int, level: int, entries: list[dict[str, Any] | None]
) -> list[Tensor | None]:
    """The codes of each chain, as many as the record knows of; errors as in `load_take`."""
    chains: list[Tensor | None] = []
    for index, entry in enumerate(entries):
        if entry is None:
            chains.append(None)
            continue
        path = chain_path(folder, number, level, index)
        stored = _load(path).levels.get(level)
        found = None if stored is None else stored[0]
        chains.append(_checked(path, f"chain {index}", found, entry))
    return chains


def _load(path: Path) -> Codes:
    try:
        return load_codes(path)
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing, although the session's record knows it; put it back, or begin "
            "again in a new folder (other takes can still be exported)"
        ) from None


def _checked(path: Path, what: str, codes: Tensor | None, entry: dict[str, Any]) -> Tensor:
    count = entry["count"]
    if codes is None or len(codes) < count:
        raise ValueError(
            f"{path} is incomplete: the session's record expects {count} codes of {what}, found "
            f"{0 if codes is None else len(codes)}; put back the right file"
        )
    codes = codes[:count].clone()
    if checksum(codes) != entry["crc32"]:
        raise ValueError(
            f"{path} is damaged: {what} does not have the checksum of the session's record; "
            "put back the right file"
        )
    return codes
