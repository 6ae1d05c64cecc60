"""Songs made on the spot: tones and noise in every format, and a codec that encodes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from jukebox_hf.vqvae import JukeboxVQVAE, JukeboxVQVAEConfig

RATE = 4000


def make_sound(
    seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0
) -> NDArray[np.float32]:
    """(samples, channels): tones that come and go, over noise, different in every channel."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate))[:, None] / rate
    frequencies = rng.uniform(0.02, 0.4, (1, channels)) * rate
    tones = np.sin(2 * np.pi * frequencies * time) * np.sin(2 * np.pi * 0.7 * time + seed)
    noise = rng.standard_normal((len(time), channels))
    return (0.3 * tones + 0.05 * noise).astype(np.float32)


def write_song(
    path: Path,
    seconds: float = 2.0,
    *,
    rate: int = RATE,
    channels: int = 1,
    seed: int = 0,
    sound: NDArray[np.float32] | None = None,
    **format: Any,
) -> Path:
    """Write a song; its folder is made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = make_sound(seconds, rate, channels, seed) if sound is None else sound
    if path.suffix == ".opus":
        format |= {"format": "OGG", "subtype": "OPUS"}
    soundfile.write(path, sound, rate, **format)
    return path


def write_songs(folder: Path, durations: Sequence[float], **options: Any) -> Path:
    """Write `song_0.wav`, `song_1.wav`... of these durations in seconds."""
    for number, seconds in enumerate(durations):
        write_song(folder / f"song_{number}.wav", seconds, seed=number, **options)
    return folder


def damage(path: Path, share: float, num_bytes: int = 300) -> Path:
    """Overwrite a few bytes of a file, so far into it."""
    content = bytearray(path.read_bytes())
    start = int(len(content) * share)
    content[start : start + num_bytes] = b"\x55" * num_bytes
    path.write_bytes(content)
    return path


def tiny_codec(seed: int = 0, **changes: Any) -> JukeboxVQVAE:
    """A codec of three levels (hops 4, 8, 16) at 4 kHz, whose codebooks have seen some sound.

    Its latents are spread out: nowhere are two codes so equally near that rounding would decide.
    """
    settings: dict[str, Any] = {
        "sampling_rate": RATE,
        "downsamplings": (2, 1, 1),
        "strides": (2, 2, 2),
        "widths": (8, 4, 4),
        "depths": (2, 2, 2),
        "codebook_size": 32,
        "codebook_dim": 4,
        "stft_size": 128,
        "stft_hop_length": 32,
        "stft_window_length": 96,
        "multispectral_stft_sizes": (64,),
        "multispectral_stft_hop_lengths": (16,),
        "multispectral_stft_window_lengths": (48,),
    }
    torch.manual_seed(seed)
    codec = JukeboxVQVAE(JukeboxVQVAEConfig(**{**settings, **changes}))
    audio = torch.from_numpy(make_sound(2.0, seed=seed)).T[None]
    with torch.no_grad():
        for level in range(codec.config.num_levels):
            std, mean = torch.std_mean(codec.encode_latents(audio, level), dim=(0, 1))
            output = codec.get_submodule(f"levels.{level}.encoder.blocks.{level}.output")
            output.weight /= std[:, None, None]
            output.bias.copy_((output.bias - mean) / std)
    if codec.config.use_codebook:
        codec.train()(audio, generator=torch.Generator().manual_seed(seed))
    return codec.eval()
