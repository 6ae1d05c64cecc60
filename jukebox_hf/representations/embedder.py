"""`JukeboxEmbedder`: what a prior knows of music, as features for other models.

Files, arrays or codes go in; the states of some layers come out, as they are, at another rate, or
as means. What is computed is described in `embedding_settings`, how in `inputs`, `passes` and
`results`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from jukebox_hf.audio import AudioReader
from jukebox_hf.codes import Codes, load_codes
from jukebox_hf.generation.devices import resolve_device
from jukebox_hf.generation.weights import QUANTIZED, loading_dtype, prepare
from jukebox_hf.hub.manifest import VQVAE
from jukebox_hf.hub.system import System
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from jukebox_hf.representations.embedding_windows import Timing
from jukebox_hf.representations.inputs import (
    ArrayInput,
    AudioInput,
    CodesInput,
    Input,
    Preparation,
    Prepared,
)
from jukebox_hf.representations.layer_files import LayerFiles
from jukebox_hf.representations.passes import (
    LayerwisePasses,
    Passes,
    WholePasses,
    WindowInput,
    unknown_labels,
)
from jukebox_hf.representations.results import (
    Allocate,
    Embedding,
    Embeddings,
    PieceStates,
    assemble,
)
from jukebox_hf.vqvae import JukeboxVQVAE

PRECISIONS = ("float32", "float16", "bfloat16", "int8")
DEFAULT_BATCH_SIZE = 8
BATCHES_AT_ONCE = 4  # whose windows are sorted by length
CODES_SUFFIX = ".safetensors"

Source = str | os.PathLike[str] | np.ndarray | Tensor | Mapping[str, Any] | Codes | Input


class JukeboxEmbedder:
    """The first layers of one prior, and the codec that makes its codes.

    Made by `from_pretrained`. `embedder("song.wav")` embeds one input, `embedder([...])` several.

    Args:
        prior: with all layers that are needed, on its device.
        vqvae: the codec; None: only codes can be embedded.
        settings: what is computed where a call does not say otherwise.
        batch_size: windows at once.
        passes: how windows go through the layers; None: `prior` as a whole.

    Attributes:
        config: of the prior.
        settings: with the layers named.
        code_rate: states per second.
    """

    def __init__(
        self,
        prior: JukeboxPrior,
        vqvae: JukeboxVQVAE | None,
        settings: EmbeddingSettings | None = None,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        passes: Passes | None = None,
    ) -> None:
        self.prior = prior
        self.vqvae = vqvae
        self.config: PriorConfig = prior.config
        self.settings = (settings or EmbeddingSettings()).for_prior(self.config)
        self.batch_size = batch_size
        self._passes = passes or WholePasses(prior)
        self.code_rate = self.config.sampling_rate / self.config.hop_length

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] | System | None = None,
        *,
        layers: Sequence[int] | None = None,
        level: int | None = None,
        like: str | None = None,
        precision: str = "float32",
        device: torch.device | str = "auto",
        batch_size: int = DEFAULT_BATCH_SIZE,
        layer_by_layer: bool = False,
        revision: str | None = None,
        **settings: Any,
    ) -> "JukeboxEmbedder":
        """Open a model and read the layers that are needed, no others.

        Args:
            model: a folder or a repository on the Hub; None: the one that comes with the package.
            layers: which, counted from 1. None: the middle one, or those of `like`.
            level: of the prior; None: the highest that has one.
            like: "jukemirlib", "edge", "jukemir" or "sheetsage": the settings that give the numbers
                of that tool.
            precision: of the layers: float32, whatever is stored; float16, bfloat16, or int8
                weights. The codec is always float32, since codes depend on every bit.
            device: "auto", "cpu", "cuda" or "mps".
            batch_size: windows at once; it changes no float32 result.
            layer_by_layer: hold one layer at a time and put all windows of a call through it: for
                models larger than the memory. Each call reads all layers anew.
            revision: of a repository.
            settings: other fields of `EmbeddingSettings`.

        Raises:
            ValueError: for settings that the model cannot fulfil, before any weight is read.
            OSError: if there is no such model.
        """
        system = model if isinstance(model, System) else System.open(model, revision=revision)
        chosen = choose_level(system, level)
        if layers is not None:
            settings["layers"] = tuple(layers)
        wanted = EmbeddingSettings.like(like, **settings).for_prior(system.prior_config(chosen))
        check_precision(precision)
        target = resolve_device(device)
        vqvae = None
        if VQVAE in system.manifest.components:
            vqvae = system.load_vqvae(device=target, dtype=torch.float32).requires_grad_(False)
        assert wanted.layers is not None
        passes: Passes | None = None
        if layer_by_layer:
            files = LayerFiles(system, chosen, precision, target)
            prior = files.load_first()
            passes = LayerwisePasses(prior, lambda number: files.put(prior, number))
        else:
            prior = load_layers(system, chosen, max(wanted.layers), precision, target)
        return cls(prior, vqvae, wanted, batch_size=batch_size, passes=passes)

    def __call__(self, source: Source | Sequence[Source], **changes: Any) -> Embedding | Embeddings:
        """Embed one input, or a list of them.

        Args:
            source: a path of audio or of a codes file; an array (samples,) or (channels, samples)
                at the model's rate, which is taken as it is; a mapping with `array` and
                `sampling_rate`, or with `bytes` or `path`, as `datasets` has them; `Codes`.
            changes: other settings than the embedder's, for this call: fields of
                `EmbeddingSettings`, such as `rate=30` or `pool="mean"`. `layers` may name any that
                were loaded.

        Returns:
            `Embedding`, or `Embeddings` for a list.

        Raises:
            ValueError: for an input that cannot be embedded, or settings that do not fit.
            OSError: for a file that is not there.
        """
        settings = self.with_changes(changes)
        if isinstance(source, list | tuple):
            sources = [as_input(each, number) for number, each in enumerate(source)]
            prepare_one = self.preparation(settings)
            return Embeddings(self.embed([prepare_one(each) for each in sources], settings))
        prepared = self.preparation(settings)(as_input(cast("Source", source)))
        return self.embed([prepared], settings)[0]

    def with_changes(self, changes: Mapping[str, Any]) -> EmbeddingSettings:
        """The embedder's settings with some changed; `ValueError` for what it cannot do."""
        known = {field.name for field in fields(EmbeddingSettings)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(
                f"there is no setting {unknown[0]!r}; settings are {', '.join(sorted(known))}"
            )
        settings = replace(self.settings, **changes).for_prior(self.config)
        assert self.settings.layers is not None
        assert settings.layers is not None
        deepest = self._num_layers
        if max(settings.layers) > deepest:
            raise ValueError(
                f"layer {max(settings.layers)} was not loaded, only layers 1 to {deepest}; name it "
                "when the embedder is made"
            )
        return settings

    @property
    def _num_layers(self) -> int:
        if isinstance(self._passes, LayerwisePasses):
            return self.config.depth
        return len(self.prior.decoder.layers)

    def preparation(self, settings: EmbeddingSettings | None = None) -> Preparation:
        """What turns inputs into pieces of codes."""
        return Preparation(self.config, self.vqvae, settings or self.settings)

    @torch.no_grad()
    def embed(
        self,
        prepared: Sequence[Prepared],
        settings: EmbeddingSettings | None = None,
        *,
        allocate: Callable[[int], Allocate | None] | None = None,
    ) -> list[Embedding]:
        """Embed inputs that `preparation` made; the windows of all of them run in batches together.

        Args:
            prepared: the inputs.
            settings: those that they were prepared with.
            allocate: what makes room for the states of an input of that number, such as in a file;
                None: memory.
        """
        settings = settings or self.settings
        assert settings.layers is not None
        windows, places = [], []
        kept: list[dict[int, list[PieceStates]]] = []
        for number, one in enumerate(prepared):
            for index, piece in enumerate(one.pieces):
                for order, (start, stop, _) in enumerate(piece.windows):
                    above = None
                    if piece.upper_codes is not None:
                        ratio = self.config.upper_ratio
                        above = piece.upper_codes[start // ratio : -(-stop // ratio)]
                    codes = piece.codes[start:stop]
                    windows.append(WindowInput(codes, piece.timings[order], above))
                    places.append((number, index, order))
            room = allocate(number) if allocate is not None and not settings.has_pieces else None
            kept.append(
                {
                    layer: [
                        PieceStates(piece, layer, self.config.width, settings, self.code_rate, room)
                        for piece in one.pieces
                    ]
                    for layer in settings.layers
                }
            )
        for rows, layer, states in self._passes.run(windows, settings.layers, self.batch_size):
            for row, its_states in zip(rows, states, strict=True):
                number, index, order = places[row]
                kept[number][layer][index].take(order, its_states)
        return [
            assemble(one, kept[number], settings, self.code_rate, _has_axis(one, settings))
            for number, one in enumerate(prepared)
        ]

    def states(
        self, codes: Tensor, *, layers: Sequence[int] | None = None, timing: Timing | None = None
    ) -> dict[int, Tensor]:
        """States after each layer, (batch, time, width) float32 on the prior's device.

        With gradients, for heads that are trained together with the layers: see `prior` for its
        parameters. `codes` are (batch, time) int64, at most one context of them.

        Raises:
            ValueError: for codes of another shape or range; for a prior that is read layer by layer
                or reads codes of the level above.
        """
        if isinstance(self._passes, LayerwisePasses) or self.config.is_upsampler:
            raise ValueError(
                "states with gradients need a whole prior that reads no other level's codes; load "
                "the top level without layer_by_layer"
            )
        assert self.settings.layers is not None
        wanted = tuple(layers or self.settings.layers)
        if timing is None:
            timing = self.preparation()._timing(0, 0)
        config, device = self.config, self.prior.device
        labels = lyrics = None
        if config.has_labels:
            labels = unknown_labels(config, [timing] * len(codes)).to(device)
        if config.lyrics != "none":
            lyrics = torch.zeros(len(codes), config.lyric_length, dtype=torch.int64, device=device)
        found = self.prior(
            codes.to(device), labels=labels, lyric_tokens=lyrics, hidden_layers=wanted
        ).hidden_states
        start = config.lyric_prefix_length
        return {layer: states[:, start:] for layer, states in zip(wanted, found, strict=True)}

    def map_batch(
        self, *, audio_column: str = "audio", **changes: Any
    ) -> Callable[[Mapping[str, Sequence[Any]]], dict[str, list[Any]]]:
        """A function for `datasets`: `dataset.map(embedder.map_batch(pool="mean"), batched=True)`.

        It adds a column `layer_36` for each layer. Audio may be decoded or not; a column that is
        cast to `Audio(decode=False)` needs no torchcodec.
        """
        settings = self.with_changes(changes)
        prepare_one = self.preparation(settings)
        assert settings.layers is not None
        wanted = settings.layers

        def embed_rows(batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
            rows = [as_input(each, row) for row, each in enumerate(batch[audio_column])]
            found = self.embed([prepare_one(row) for row in rows], settings)
            return {f"layer_{layer}": [one[layer] for one in found] for layer in wanted}

        return embed_rows


def _has_axis(prepared: Prepared, settings: EmbeddingSettings) -> bool:
    """Whether the arrays of an input begin with an axis of pieces."""
    return settings.has_pieces or len(prepared.pieces) > 1


def choose_level(system: System, level: int | None) -> int:
    """The level whose prior is meant; `ValueError` if the model has none there."""
    levels = system.prior_levels
    if not levels:
        raise ValueError(f"{system.source} has no prior, so there are no states; use a whole model")
    if level is None:
        return max(levels)
    if level not in levels:
        raise ValueError(
            f"{system.source} has priors of level {', '.join(map(str, levels))}, not of level "
            f"{level}"
        )
    return level


def check_precision(precision: str) -> None:
    """Raise `ValueError` for a precision that states are not computed in."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")


def load_layers(
    system: System, level: int, num_layers: int, precision: str, device: torch.device
) -> JukeboxPrior:
    """The first layers of a prior in a precision, on a device, without anything above them."""
    place = torch.device("cpu") if precision in QUANTIZED else device
    prior = system.load_prior(
        level, device=place, dtype=loading_dtype(precision), num_layers=num_layers
    )
    return prepare(prior, precision, device)


def as_input(source: Source, number: int = 0) -> Input:
    """What a user gave, as an input; see `JukeboxEmbedder.__call__`.

    Raises `ValueError` for what is none of these; a file is opened when its turn comes.
    """
    if isinstance(source, AudioInput | ArrayInput | CodesInput):
        return source
    if isinstance(source, Codes):
        return CodesInput(source.origin.get("source", f"codes {number}"), source)
    if isinstance(source, np.ndarray | Tensor):
        return ArrayInput(f"array {number}", source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.suffix == CODES_SUFFIX:
            return CodesInput(str(path), load_codes(path))
        return AudioInput.of_file(path)
    decoded = getattr(source, "get_all_samples", None)
    if decoded is not None:  # what torchcodec makes of a cell of `datasets`
        samples = decoded()
        return ArrayInput(f"audio {number}", samples.data, int(samples.sample_rate))
    if isinstance(source, Mapping):
        if source.get("array") is not None:
            array = np.asarray(source["array"], np.float32)
            return ArrayInput(f"audio {number}", array, int(source["sampling_rate"]))
        name = str(source.get("path") or f"audio {number}")
        content = source.get("bytes")
        if content is not None:
            return AudioInput(
                name, lambda rate: AudioReader(name, rate, open_content=lambda: BytesIO(content))
            )
        if source.get("path"):
            return AudioInput.of_file(name)
    raise ValueError(
        "expected a path, an array, codes, or a mapping with array and sampling_rate, bytes or "
        f"path, got {type(source).__name__}"
    )
