"""`jukebox evaluate`: a whole model or one component of it, on songs or codes.

The components of a model and a dataset go in; what `evaluation` measures comes out, by component.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from jukebox_hf.data import (
    ClipDataset,
    CodeSongs,
    describe_skipped,
    describe_songs,
    group_notes,
)
from jukebox_hf.generation.devices import resolve_device
from jukebox_hf.hub import System
from jukebox_hf.precision import torch_dtype
from jukebox_hf.training.batches import load_once
from jukebox_hf.training.building_prior import prior_windows
from jukebox_hf.training.evaluation import (
    CodecEvaluation,
    PriorEvaluation,
    evaluate_codec,
    evaluate_prior,
)
from jukebox_hf.training.song_selection import SongSelection
from jukebox_hf.training.song_split import SongSplit, open_split
from jukebox_hf.training.tasks import collate_windows, place_windows
from jukebox_hf.vqvae import JukeboxVQVAE

ROUNDING = 0.01  # of a code: a length that is given in seconds has been rounded
CLIP_SECONDS = 3.0  # of codec clips, as in the paper (arXiv:2005.00341, section 6.2)
MOST_ITEMS, BATCH_SIZE = 256, 4
Load = Callable[[Any, Any], Iterator[Any]]


def evaluate_model(
    model: str,
    songs: SongSelection,
    *,
    components: Sequence[str] | None = None,
    clip_seconds: float = CLIP_SECONDS,
    held_out_only: bool = False,
    compare_labels: bool = False,
    items: int = MOST_ITEMS,
    batch_size: int = BATCH_SIZE,
    num_workers: int = 0,
    device: str | torch.device = "auto",
    precision: str = "float32",
    say: Callable[[str], None] | None = None,
) -> dict[str, CodecEvaluation | PriorEvaluation]:
    """Evaluate components of a model.

    Args:
        model: folder or repository of a system, or of one component.
        songs: to evaluate on.
        components: "vqvae", "prior_0", ...; default: all that the dataset suits. Codes suit priors
            only, and a prior needs the codec of its system to learn from audio.
        clip_seconds: length of the codec's clips.
        held_out_only: only songs that training with this selection holds out.
        compare_labels: also score priors with the labels of other songs.
        items: clips or windows at most, spread evenly over the songs.
        batch_size: of them at once; labels are exchanged within a batch.
        num_workers: processes that read songs.
        device: where.
        precision: of the priors.
        say: takes lines on which songs there are; see `describe_songs`.

    Raises:
        ValueError: for a component that the model lacks or the dataset does not suit, and for songs
            of which none is long enough.
        OSError: if model or dataset are not there.
    """
    system = System.open(model)
    device = resolve_device(device)
    if not held_out_only:
        songs = replace(songs, validation_fraction=0)
    split = open_split(songs, min_seconds=0.0, allow_codes=True)
    if held_out_only:
        if split.validation is None:
            raise ValueError("no songs are held out; raise validation_fraction")
        split = SongSplit(split.validation, None, split.skipped, split.notes)
    if say is not None:
        say(f"Found {describe_songs(split.everyone())}.")
        for line in describe_skipped(split.skipped):
            say(f"Skipped: {line}")
        for line in group_notes(split.notes):
            say(f"Note: {line}")
    chosen = _choose(system, split, components)
    load = partial(load_once, num_examples=items, batch_size=batch_size, num_workers=num_workers)
    codec = None
    if "vqvae" in system.manifest.components and not split.codes:
        codec = system.load_vqvae(device=device)
    found: dict[str, CodecEvaluation | PriorEvaluation] = {}
    for name in chosen:
        if name == "vqvae":
            assert codec is not None
            found[name] = evaluate_codec(codec, _clips(split, codec, clip_seconds, load))
        else:
            level = int(name.removeprefix("prior_"))
            prior = system.load_prior(level, device=device, dtype=torch_dtype(precision))
            config = prior.config
            needs_names = config.has_labels or config.lyrics != "none"
            processor = system.processor(level) if needs_names else None
            if isinstance(split.train, CodeSongs):
                split.train.check(config)
            windows, encode = prior_windows(
                split.train, codec, config, processor=processor, seed=songs.seed
            )
            batches = (
                place_windows(batch, device, codec, encode)
                for batch in load(windows, collate_windows)
            )
            found[name] = evaluate_prior(prior, batches, compare_labels=compare_labels)
            del prior
    return found


def _choose(system: System, split: SongSplit, components: Sequence[str] | None) -> list[str]:
    """Which components to evaluate."""
    present = list(system.manifest.components)
    suitable = [name for name in present if not (name == "vqvae" and split.codes)]
    if not split.codes and "vqvae" not in present:
        suitable = []
    if components is None:
        if not suitable:
            raise ValueError(
                f"{system.source} has nothing to evaluate on this dataset: a prior without its "
                "codec needs codes, and a codec needs songs"
            )
        return suitable
    for name in components:
        if name not in present:
            raise ValueError(f"{system.source} has no {name}; it has {', '.join(present)}")
        if name not in suitable:
            wanted = "songs" if name == "vqvae" else "codes"
            raise ValueError(f"{name} of {system.source} can only be evaluated on {wanted}")
    return list(components)


def _clips(split: SongSplit, codec: JukeboxVQVAE, clip_seconds: float, load: Load) -> Iterator[Any]:
    config = codec.config
    hop_length = config.hop_lengths[-1]
    hops = clip_seconds * config.sampling_rate / hop_length
    samples = max(1, int(hops + ROUNDING)) * hop_length
    assert not isinstance(split.train, CodeSongs)
    clips = ClipDataset(split.train, sampling_rate=config.sampling_rate, clip_samples=samples)
    return (batch["audio"] for batch in load(clips, torch.utils.data.default_collate))
