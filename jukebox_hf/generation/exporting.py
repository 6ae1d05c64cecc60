"""Files of a session's takes for use elsewhere: audio in any format, or codes."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from jukebox_hf.audio import AudioTags, check_output_path, load_audio, mix_down, save_audio
from jukebox_hf.codes import Codes, save_codes
from jukebox_hf.generation.devices import resolve_device
from jukebox_hf.generation.joined import JoinedCodes
from jukebox_hf.generation.making import decode_joined
from jukebox_hf.generation.naming import name_tags, take_file_name
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.vqvae.network import VQVAENetwork

LONGEST_DELAY = 1.0  # seconds


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
    rate, decoder = session.record.sampling_rate, _Decoder(session, model, place)
    for number, path in zip(numbers, paths, strict=True):
        tags = _tags(session, number)
        save_audio(path, decoder.audio(number), rate, tags=tags, overwrite=overwrite)
    return paths


def export_stereo(
    session: Session,
    numbers: Sequence[int],
    folder: str | os.PathLike[str],
    *,
    delay_seconds: Sequence[float] = (),
    audio_format: str = "flac",
    overwrite: bool = False,
    model: str | None = None,
    device: str = "auto",
) -> Path:
    """Write three takes as one file in stereo: left, centre and right, as renders of one take are.

    Each channel is half of its side and half of the centre. A delay moves a take back by so many
    seconds; beyond the end it is cut off. Returns the file's path; errors as of `export_audio`.
    """
    if len(numbers) != 3:
        raise ValueError(
            f"stereo takes three takes, left, centre and right, as in 1,2,3; got {len(numbers)}"
        )
    delays = tuple(delay_seconds) or (0.0, 0.0, 0.0)
    if len(delays) != 3 or not all(0 <= delay <= LONGEST_DELAY for delay in delays):
        raise ValueError(
            f"give a delay for each of the three, from 0 to {LONGEST_DELAY:g} seconds, as in "
            f"0.02,0,0.04; got {', '.join(f'{delay:g}' for delay in delays)}"
        )
    place = resolve_device(device)
    name = "_".join(["stereo", *(f"{number:02d}" for number in numbers)])
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / f"{name}_{session.settings.seed}.{audio_format}"
    check_output_path(path, overwrite=overwrite)
    rate, decoder = session.record.sampling_rate, _Decoder(session, model, place)
    sounds = [mix_down(decoder.audio(number))[0] for number in numbers]
    length = min(len(sound) for sound in sounds)
    left, centre, right = (
        torch.cat([torch.zeros(min(round(delay * rate), length)), sound])[:length]
        for delay, sound in zip(delays, sounds, strict=True)
    )
    audio = torch.stack([(left + centre) / 2, (right + centre) / 2])
    save_audio(path, audio, rate, tags=_tags(session, numbers[1]), overwrite=overwrite)
    return path


class _Decoder:
    """Audio of takes: from their files, else decoded."""

    def __init__(self, session: Session, model: str | None, device: torch.device) -> None:
        self.session = session
        self.model = model
        self.device = device
        self._codec: VQVAENetwork | None = None

    def audio(self, number: int) -> Tensor:
        """(channels, samples) float32."""
        session, take = self.session, self.session.take(number)
        if take.audio is not None and (session.folder / take.audio).is_file():
            rate = session.record.sampling_rate
            return load_audio(session.folder / take.audio, rate, mono=False)
        if self._codec is None:
            self._codec = session.open_system(self.model).load_vqvae_network(device=self.device)
        codes = _codes(session, number)
        level = _best_level(codes, take.num_samples)
        return decode_joined(self._codec, level, codes.level(level))


def _tags(session: Session, number: int) -> AudioTags:
    take = session.take(number)
    return AudioTags(
        title=f"Take {number}",
        **name_tags(take.prompt, take.labels),
        generated=True,
        model=session.model_name,
        seed=session.settings.seed,
        licence=session.record.model.licence,
    )


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
