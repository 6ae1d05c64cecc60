"""The files of a session beside its record: the codes of its takes with their checksums.

Codes go to disk, each file whole or not at all, and come back checked against what the record
(`session_record`) says of them. A session may come from a stranger: links in its folder are never
followed.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from jukebox_hf.codes import Codes, load_codes, save_codes
from jukebox_hf.files import sweep_leftovers
from jukebox_hf.generation.chains import Chain, Seam
from jukebox_hf.generation.holes import FIRST_TAKE, Hole
from jukebox_hf.generation.joined import Joined, JoinedCodes
from jukebox_hf.generation.session_record import (
    ChainRecord,
    HoleRecord,
    SeamRecord,
    StoredCodes,
)
from jukebox_hf.generation.settings import primer_record
from jukebox_hf.generation.windows import Run

CODES_FOLDER = "codes"
PARTS_FOLDER = "parts"
PRIMER_FOLDER = "primers"
PREVIEW_FOLDER = "preview"
Given: TypeAlias = Literal["given", "filled", "original"]


def part_paths(folder: Path) -> list[Path]:
    """Where other processes have put down what the record does not know yet."""
    return sorted((folder / PARTS_FOLDER).glob("process_*.json"))


def remove_parts(folder: Path) -> None:
    """Delete what the record has taken over."""
    _remove(folder / PARTS_FOLDER, "process_*.json")


def remove_partial_files(folder: Path) -> None:
    """Delete what a killed process left half written."""
    for place in (
        folder,
        *(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()),
    ):
        sweep_leftovers(place, everybody=True)


def codes_path(folder: Path, number: int) -> Path:
    """Where the codes of a take are."""
    return folder / CODES_FOLDER / f"take_{number:02d}.safetensors"


def chain_path(folder: Path, number: int, level: int, chain: int) -> Path:
    """Where one chain of a level of a take is; each has its own file, so that several processes
    can write them."""
    return folder / CODES_FOLDER / f"take_{number:02d}_level_{level}_chain_{chain:02d}.safetensors"


def given_path(folder: Path, number: int, level: int, chain: int, kind: Given = "given") -> Path:
    """Where one chain is of the codes that a level of a take begins with (or others, by kind)."""
    return folder / CODES_FOLDER / f"take_{number:02d}_level_{level}_{kind}_{chain:02d}.safetensors"


def original_path(folder: Path) -> Path:
    """Where the codes are of the piece that a hole is in."""
    return folder / CODES_FOLDER / "take_original.safetensors"


def part_path(folder: Path, process: int) -> Path:
    """Where another process than the main one puts what belongs into the record."""
    return folder / PARTS_FOLDER / f"process_{process:02d}.json"


def primer_path(folder: Path, number: int) -> Path:
    """Where the audio that a take begins with waits to be encoded."""
    return folder / PRIMER_FOLDER / f"{number:02d}.wav"


def preview_path(folder: Path, number: int) -> Path:
    """Where audio of a take that is under way is."""
    return folder / PREVIEW_FOLDER / f"{number:02d}.wav"


def preview_paths(folder: Path) -> list[Path]:
    """The previews that a session's folder holds now, by take."""
    return sorted((folder / PREVIEW_FOLDER).glob("*.wav"))


def preview_words_path(folder: Path, number: int) -> Path:
    """Where it says when the words of a take that is under way are sung."""
    return folder / PREVIEW_FOLDER / f"{number:02d}.words.json"


def remove_previews(folder: Path) -> None:
    """Delete the previews and their words, once there is something better."""
    _remove(folder / PREVIEW_FOLDER, "*.words.json")
    _remove(folder / PREVIEW_FOLDER, "*.wav")


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


def words_path(folder: Path, number: int) -> Path:
    """Where the words of a take wait for its audio, if it begins with ones that are known."""
    return folder / CODES_FOLDER / f"take_{number:02d}_words.json"


def checksum(codes: Tensor) -> str:
    """CRC-32 of codes (time,), over what a codes file stores of them."""
    return f"{zlib.crc32(codes.cpu().numpy().astype('<i2').tobytes()):08x}"


def save_take(folder: Path, number: int, codes: Codes) -> dict[int, StoredCodes]:
    """Write the codes of a take; returns what the record says about each level."""
    path = codes_path(folder, number)
    path.parent.mkdir(exist_ok=True)
    save_codes(path, codes)
    return {
        level: StoredCodes(tensor.shape[1], checksum(tensor[0]))
        for level, tensor in codes.levels.items()
    }


def load_take(
    folder: Path, number: int | None, entries: Mapping[int, StoredCodes], num_levels: int
) -> dict[int, Tensor]:
    """The codes (time,) of a take by level, as many as the record knows of.

    Without a number they are those of the piece that a hole is in.

    A file may hold more than the record: the process was stopped between writing the two. What is
    more is left out and made again.

    Raises `ValueError` for a file that is damaged or does not hold what the record says.
    """
    levels = {level: torch.zeros(0, dtype=torch.int64) for level in range(num_levels)}
    if not entries:
        return levels
    path = original_path(folder) if number is None else codes_path(folder, number)
    stored = _load(path)
    for level, entry in entries.items():
        tensor = stored.levels.get(level)
        levels[level] = _checked(
            path, f"level {level}", None if tensor is None else tensor[0], entry
        )
    return levels


def save_chain(
    path: Path,
    level: int,
    codes: Tensor,
    hop_lengths: tuple[int, ...],
    sampling_rate: int,
) -> StoredCodes:
    """Write the codes (time,) of one chain; returns what the record says about it."""
    path.parent.mkdir(exist_ok=True)
    save_codes(path, Codes({level: codes[None]}, hop_lengths, sampling_rate))
    return StoredCodes(len(codes), checksum(codes))


def save_hole(folder: Path, hole: Hole) -> HoleRecord:
    """Write the piece that a hole is in; returns what the record says of both."""
    path = original_path(folder)
    path.parent.mkdir(exist_ok=True)
    save_codes(path, hole.original)
    found = primer_record(hole.original)
    assert found is not None
    return HoleRecord(
        begin=hole.begin,
        end=hole.end,
        removed=hole.removed,
        candidates=hole.candidates,
        sha256=found.sha256,
        codes={
            level: StoredCodes(tensor.shape[1], checksum(tensor[0]))
            for level, tensor in hole.original.levels.items()
        },
        chains=save_given(folder, FIRST_TAKE, hole.original, "original"),
    )


def load_hole(
    folder: Path, record: HoleRecord, hop_lengths: tuple[int, ...], sampling_rate: int
) -> Hole:
    """What `save_hole` wrote; errors as of `load_given`."""
    levels = load_take(folder, None, record.codes, len(hop_lengths))
    levels = {level: levels[level] for level in record.codes}
    joined = {
        one.level: load_given(folder, one, levels[one.level], "original")
        for one in record.chains
        if one.level in levels
    }
    original = JoinedCodes(
        {level: codes[None] for level, codes in levels.items()},
        hop_lengths,
        sampling_rate,
        joined=joined,
    )
    return Hole(record.begin, record.end, record.removed, record.candidates, original)


def load_chains(
    folder: Path, number: int, level: int, entries: Sequence[StoredCodes | None]
) -> list[Tensor | None]:
    """The codes of each chain, as many as the record knows of; errors as in `load_take`."""
    return [
        None
        if entry is None
        else _load_chain(chain_path(folder, number, level, index), level, index, entry)
        for index, entry in enumerate(entries)
    ]


def _load_chain(path: Path, level: int, index: int, entry: StoredCodes) -> Tensor:
    stored = _load(path).levels.get(level)
    return _checked(path, f"chain {index}", None if stored is None else stored[0], entry)


def save_given(
    folder: Path, number: int, codes: JoinedCodes, kind: Given = "given"
) -> list[ChainRecord]:
    """Write the chains of a take's codes; returns what the record says.

    `kind`: those that a take begins with, those of a level whose hole is filled, or those of the
    piece that the hole is in.
    """
    records = []
    for level, joined in codes.joined.items():
        record = ChainRecord(
            number,
            level,
            runs=[(chain.run.begin, chain.run.end) for chain in joined.chains],
            codes=[
                save_chain(
                    given_path(folder, number, level, index, kind),
                    level,
                    chain.codes,
                    codes.hop_lengths,
                    codes.sampling_rate,
                )
                for index, chain in enumerate(joined.chains)
            ],
            seams=seam_records(joined.seams, codes.hop_lengths[level] / codes.sampling_rate),
        )
        records.append(record)
    return records


def load_given(folder: Path, record: ChainRecord, codes: Tensor, kind: Given = "given") -> Joined:
    """What `save_given` wrote of a level that has or begins with these codes (time,).

    Errors as of `load_take`, and `ValueError` for chains that are none of these codes.
    """
    chains = []
    for index, (run, entry) in enumerate(zip(record.runs, record.codes, strict=True)):
        if entry is not None:
            path = given_path(folder, record.take, record.level, index, kind)
            chains.append(Chain(Run(*run), _load_chain(path, record.level, index, entry)))
    codes = codes[: max((chain.run.end for chain in chains), default=0)]
    return Joined(codes, tuple(chains), tuple(seams_of(record)))


def seam_records(seams: Sequence[Seam], code_seconds: float) -> list[SeamRecord]:
    """What a record says about seams."""
    return [
        SeamRecord(
            seam.code, round(seam.code * code_seconds, 4), round(seam.likeness, 4), seam.fade
        )
        for seam in seams
    ]


def seams_of(record: ChainRecord) -> list[Seam]:
    """The seams that a record says; none before chains are joined."""
    return [Seam(seam.code, seam.likeness, seam.fade) for seam in record.seams or []]


def _load(path: Path) -> Codes:
    try:
        return load_codes(path)
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing, although the session's record knows it; put it back, or begin "
            "again in a new folder (other takes can still be exported)"
        ) from None


def _checked(path: Path, what: str, codes: Tensor | None, entry: StoredCodes) -> Tensor:
    count = entry.count
    if codes is None or len(codes) < count:
        raise ValueError(
            f"{path} is incomplete: the session's record expects {count} codes of {what}, found "
            f"{0 if codes is None else len(codes)}; put back the right file"
        )
    codes = codes[:count].clone()
    if checksum(codes) != entry.crc32:
        raise ValueError(
            f"{path} is damaged: {what} does not have the checksum of the session's record; "
            "put back the right file"
        )
    return codes
