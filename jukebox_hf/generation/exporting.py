"""Files of a session's takes for use elsewhere: audio in any format, or codes."""

import os
from collections.abc import Sequence
from pathlib import Path

from jukebox_hf.audio import AudioTags, check_output_path, load_audio, save_audio
from jukebox_hf.codes import Codes, save_codes
from jukebox_hf.generation.devices import resolve_device
from jukebox_hf.generation.joined import JoinedCodes
from jukebox_hf.generation.naming import name_tags, take_file_name
from jukebox_hf.generation.run import decode_joined
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.settings import Prompt


def export_codes(
    session: Session, numbers: Sequence[int], folder: str | os.PathLike[str], *, overwrite: bool
) -> list[Path]:
    """Write the codes of takes, one file each, into a folder that is made if needed.

    Raises `FileExistsError` for a file that is there, unless `overwrite`; `ValueError` for a take
    without codes.
    """
    paths = _paths(session, numbers, folder, "safetensors")
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; choose another folder, or say --overwrite")
    for number, path in zip(numbers, paths, strict=True):
        save_codes(path, _codes(session, number))
    return paths


def export_audio(
    session: Session,
    numbers: Sequence[int],
    folder: str | os.PathLike[str],
    *,
    audio_format: str = "flac",
    overwrite: bool = False,
    model: str | None = None,
    device: str = "auto",
) -> list[Path]:
    """Write the audio of takes, one file each, into a folder that is made if needed.

    Finished takes come from their files; others are decoded from the finest level that is complete,
    or else from as much of the top level as there is, with the session's model.

    Raises `FileExistsError` for a file that is there, unless `overwrite`; `ValueError` for a take
    without codes, a format that cannot be written here, or a device that is not there.
    """
    place = resolve_device(device)
    paths = _paths(session, numbers, folder, audio_format)
    for path in paths:
        check_output_path(path, overwrite=overwrite)
    codec = None
    for number, path in zip(numbers, paths, strict=True):
        take = session.take(number)
        rate = session.record.sampling_rate
        if take.audio is not None and (session.folder / take.audio).is_file():
            audio = load_audio(session.folder / take.audio, rate, mono=False)
        else:
            if codec is None:
                codec = session.open_system(model).load_vqvae(device=place)
            codes = _codes(session, number)
            level = _best_level(codes, take.num_samples)
            audio = decode_joined(codec, level, codes.level(level))
        tags = AudioTags(
            title=f"Take {number}",
            **name_tags(take.prompt, take.labels),
            generated=True,
            model=session.model_name,
            seed=session.settings.seed,
            licence=session.record.model.licence,
        )
        save_audio(path, audio, rate, tags=tags, overwrite=overwrite)
    return paths


def _paths(
    session: Session, numbers: Sequence[int], folder: str | os.PathLike[str], suffix: str
) -> list[Path]:
    names = [
        take_file_name(number, Prompt.restore(session.take(number).prompt), session.settings.seed)
        for number in numbers
    ]
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [Path(folder) / f"{name}.{suffix}" for name in names]


def _codes(session: Session, number: int) -> JoinedCodes:
    codes = session.joined_codes(number)
    if codes is None:
        raise ValueError(f"take {number} of {session.folder} has no codes yet; resume it first")
    return codes


def _best_level(codes: Codes, num_samples: int) -> int:
    """The finest level that is complete, else the one that goes furthest."""
    whole = [level for level in codes.levels if codes.num_samples(level) >= num_samples]
    return min(whole) if whole else max(codes.levels, key=codes.num_samples)
