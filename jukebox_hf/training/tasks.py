"""What one step of training computes: of the codec, and of a prior. The loop knows neither.

A task owns its model, turns a batch into a loss, evaluates, makes audible samples, and writes what
`from_pretrained` reads. Which batches there are is `batches`' business, when anything happens is
`trainer`'s.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from jukebox_hf.files import give_usual_permissions
from jukebox_hf.generation.noise import uniform_noise
from jukebox_hf.generation.sampling import WindowSampler
from jukebox_hf.hub import System
from jukebox_hf.labels import UNKNOWN_ID, JukeboxLabels, PriorProcessor
from jukebox_hf.precision import exact_float32
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.sampling_settings import LevelSettings
from jukebox_hf.training.batches import derived_seed
from jukebox_hf.training.codebooks import (
    codebooks,
    set_revival_thresholds,
    start_codebooks,
    steps_for_kmeans,
)
from jukebox_hf.training.evaluation import (
    CodecEvaluation,
    PriorBatch,
    PriorEvaluation,
    evaluate_codec,
    evaluate_prior,
    evaluating,
)
from jukebox_hf.training.export import export_component
from jukebox_hf.training.finetuning import save_adapter
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.vqvae import JukeboxVQVAE

BatchT = TypeVar("BatchT")
EncodeBatch = Callable[[JukeboxVQVAE, Mapping[str, Any]], Mapping[str, Any]]


class Loss(NamedTuple):
    """The loss of one batch, and numbers to watch: scalars, left on their device."""

    loss: Tensor
    metrics: dict[str, Tensor]


class AudibleSamples(NamedTuple):
    """Audio to listen to, (channels, samples) by name; for the codec with the original beside."""

    sampling_rate: int
    audio: dict[str, Tensor]


def collate_windows(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Windows of a prior, put together in a worker."""
    batch: dict[str, Any] = default_collate([dict(item) for item in items])
    return batch


def place_windows(
    batch: Mapping[str, Any],
    device: torch.device,
    codec: JukeboxVQVAE | None = None,
    encode: EncodeBatch | None = None,
) -> PriorBatch:
    """Move a batch of windows, and encode it if it is audio."""
    if "audio" in batch:
        assert codec is not None, "audio needs the codec"
        assert encode is not None, "audio needs its dataset's encode"
        audio = batch["audio"].to(device, non_blocking=True)
        with exact_float32(device):  # codes must be those of a cache
            batch = encode(codec, {**batch, "audio": audio})
    return PriorBatch._make(batch.get(name) for name in PriorBatch._fields).to(device)


class Task(Protocol[BatchT]):
    """What the trainer asks of a task. `model` is what the optimizer moves."""

    model: Any

    @property
    def complete(self) -> bool:
        """Whether the whole model takes part, so that losses can be compared."""

    def collate(self, items: Sequence[Any]) -> Any:
        """Put examples together, in a worker."""

    def to_device(self, batch: Any, device: torch.device) -> BatchT:
        """Make a batch of what `collate` gave, where the model is."""

    def audio_seconds(self, batch: BatchT) -> float:
        """Seconds of audio that a batch stands for."""

    def before_step(self, step: int, load: Callable[[int], Iterator[list[BatchT]]]) -> None:
        """Called before step `step` (from 0); `load(n)` gives the batches of the next `n` steps."""

    def loss(self, model: nn.Module, batch: BatchT) -> Loss:
        """The loss of a batch. `model` is `self.model`, perhaps wrapped for several processes."""

    def after_step(self, step: int, *, succeeded: bool) -> dict[str, Tensor]:
        """Called after the optimizer has moved; more numbers to watch."""

    def evaluate(self, batches: Iterable[BatchT]) -> CodecEvaluation | PriorEvaluation:
        """How good the model is as it stands."""

    def warnings(self, evaluation: CodecEvaluation | PriorEvaluation) -> list[str]:
        """What has gone wrong, if anything, in words."""

    def samples(self, batches: Iterable[BatchT]) -> AudibleSamples:
        """Something to listen to, made from some of the evaluation's batches."""

    @property
    def component(self) -> str:
        """Which part of a model is trained: "vqvae" or "prior_N"."""

    def save(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """Write config, weights and processor into a folder that exists."""

    def export(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """Fill a folder that exists with a model that `System.open` reads."""

    def compilable(self) -> list[nn.Module]:
        """The parts that `torch.compile` compiles, each for itself."""


class CodecTask:
    """Training the codec: audio (batch, 1, samples) through every level at once.

    Codebooks learn after the optimizer's step, from the latents of the whole step: of all parts
    that were accumulated, and all processes. So accumulating gradients changes nothing, and a step
    that failed leaves the codebooks alone. They come in after `unquantized_steps`. With
    `freeze_encoder` they, like the encoders, stay as they are.
    """

    def __init__(self, model: JukeboxVQVAE, settings: TrainingSettings, *, processes: int = 1):
        self.model = model
        self.settings = settings
        self.processes = processes
        self.samples_per_step = settings.batch_size * settings.clip_samples
        self._latents: list[tuple[Tensor, ...]] = []
        self._codes: list[tuple[Tensor, ...]] = []
        self._started = False
        if model.config.use_codebook:
            set_revival_thresholds(model, self.samples_per_step, settings.revival_threshold)

    @property
    def quantizing(self) -> bool:
        """Whether the codebooks have started."""
        if not self._started and self.model.config.use_codebook:  # asks the device until they have
            self._started = all(bool(codebook.initialized) for codebook in codebooks(self.model))
        return self._started

    @property
    def complete(self) -> bool:
        return self.quantizing or not self.model.config.use_codebook

    @property
    def component(self) -> str:
        return "vqvae"

    def collate(self, items: Sequence[Mapping[str, Any]]) -> Tensor:
        return torch.stack([item["audio"] for item in items])

    def to_device(self, batch: Tensor, device: torch.device) -> Tensor:
        return batch.to(device, non_blocking=True)

    def audio_seconds(self, batch: Tensor) -> float:
        return len(batch) * batch.shape[-1] / self.model.config.sampling_rate

    def before_step(self, step: int, load: Callable[[int], Iterator[list[Tensor]]]) -> None:
        """Start the codebooks when their time has come."""
        due = step >= self.settings.unquantized_steps and self.model.config.use_codebook
        if not due or self.quantizing:
            return
        kmeans = self.settings.kmeans_steps
        steps = steps_for_kmeans(self.model, self.samples_per_step) if kmeans else 1
        start_codebooks(
            self.model,
            self._gather_latents(load(steps)),
            kmeans_steps=kmeans,
            samples_per_step=self.samples_per_step,
            generator=self._generator("start", step),
        )

    @torch.no_grad()
    def _gather_latents(self, steps: Iterable[list[Tensor]]) -> list[Tensor]:
        """Latents of each level (n, codebook_dim), of all processes, in the examples' order."""
        found: list[list[Tensor]] = [[] for _ in self.model.levels]
        for parts in steps:
            for level, rows in enumerate(found):
                latents = [
                    self.model.encode_latents(part.to(self.model.device), level) for part in parts
                ]
                rows.append(gather_rows(torch.cat(latents).flatten(0, 1), self.processes))
        return [torch.cat(rows) for rows in found]

    def loss(self, model: nn.Module, batch: Tensor) -> Loss:
        output = model(batch, learn=False, quantize=self.quantizing)
        if self.quantizing and not self.settings.freeze_encoder:
            self._latents.append(output.latents)
            self._codes.append(output.codes)
        metrics = {}
        names = ["waveform", "spectral", "multispectral", "commitment"]
        if self.model.config.log_spectral_weight:
            names.append("log_spectral")
        for name in names:
            for level, value in enumerate(getattr(output.losses, name).detach()):
                metrics[f"level_{level}/{name}"] = value
        for level, value in enumerate(output.metrics.spectral_convergence):
            metrics[f"level_{level}/spectral_convergence"] = value
        return Loss(output.loss, metrics)

    @torch.no_grad()
    def after_step(self, step: int, *, succeeded: bool) -> dict[str, Tensor]:
        """Let the codebooks learn from the latents of the step."""
        latents, self._latents = self._latents, []
        codes, self._codes = self._codes, []
        if not latents or not succeeded:
            return {}
        metrics: dict[str, Tensor] = {}
        for level, codebook in enumerate(codebooks(self.model)):
            rows = torch.cat([part[level] for part in latents])
            generator = self._generator("restarts", step, level)
            known = torch.cat([part[level] for part in codes])
            found = codebook(rows, learn=True, generator=generator, codes=known).metrics
            assert found is not None
            metrics |= {f"level_{level}/codebook_{name}": v for name, v in found._asdict().items()}
            metrics[f"level_{level}/perplexity"] = found.entropy.exp()
        return metrics

    def _generator(self, *purpose: object) -> torch.Generator:
        """Draws on the CPU, so that they are the same on every device."""
        return torch.Generator().manual_seed(derived_seed(self.settings.seed, *purpose))

    def evaluate(self, batches: Iterable[Tensor]) -> CodecEvaluation:
        return evaluate_codec(self.model, batches, quantize=self.quantizing)

    def warnings(self, evaluation: CodecEvaluation | PriorEvaluation) -> list[str]:
        """Name the levels whose codebook has collapsed."""
        assert isinstance(evaluation, CodecEvaluation)
        if not self.quantizing:
            return []
        size = self.model.config.codebook_size
        floor = self.settings.min_perplexity_share * size
        return [
            f"level {level} has collapsed: the perplexity of its codes is {found.perplexity:.0f} "
            f"of {size} (under {floor:.0f}), so most of the codebook is wasted. Train longer "
            "unquantized (unquantized_steps), start from k-means (kmeans_steps), or lower the "
            "learning rate"
            for level, found in enumerate(evaluation.levels)
            if found.perplexity < floor
        ]

    @torch.no_grad()
    def samples(self, batches: Iterable[Tensor]) -> AudibleSamples:
        """Clips, and what each level makes of them."""
        config = self.model.config
        wanted = int(self.settings.sample_seconds * config.sampling_rate)
        found: dict[str, Tensor] = {}
        with evaluating(self.model):
            for audio in take_items(batches, self.settings.num_samples):
                number = sum(name.endswith("original") for name in found)
                audio = audio[None, :, :wanted].to(self.model.device)
                output = self.model(audio, quantize=self.quantizing)
                found[f"song_{number}_original"] = audio[0].float().cpu()
                for level, reconstruction in enumerate(output.reconstructions):
                    found[f"song_{number}_level_{level}"] = reconstruction[0].float().cpu()
        return AudibleSamples(config.sampling_rate, found)

    def save(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        self.model.save_pretrained(folder, state_dict=dict(state))

    def export(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        own = partial(save_whole, self, state=state)
        export_component(folder, self.component, own, self.model.config)

    def compilable(self) -> list[nn.Module]:
        return [part for level in self.model.levels for part in (level.encoder, level.decoder)]  # type: ignore[misc]


class PriorTask:
    """Training the prior of one level on windows of codes and what conditions them."""

    def __init__(
        self,
        model: JukeboxPrior,
        settings: TrainingSettings,
        *,
        processor: PriorProcessor | None = None,
        base: System | None = None,
        codec: JukeboxVQVAE | None = None,
        encode: EncodeBatch | None = None,
        process: int = 0,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """What is needed around the prior.

        Args:
            model: the prior.
            settings: of the run.
            processor: is saved with the prior.
            base: the model that it becomes part of.
            codec: decodes samples, and encodes where examples are audio.
            encode: a batch of examples with audio to one with codes, given the codec.
            process: number of this process.
            notes: what the model that it becomes says of names and lyrics, as in `Manifest`.
        """
        self.model = model
        self.settings = settings
        self.processor = processor
        self.base = base
        self.codec = codec
        self.encode = encode
        self.process = process
        self.notes = dict(notes or {})
        self._part = 0
        self._step = 0

    @property
    def complete(self) -> bool:
        return True

    @property
    def component(self) -> str:
        return f"prior_{self.model.config.level}"

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return collate_windows(items)

    def to_device(self, batch: Mapping[str, Any], device: torch.device) -> PriorBatch:
        return place_windows(batch, device, self.codec, self.encode)

    def audio_seconds(self, batch: PriorBatch) -> float:
        config = self.model.config
        return batch.codes.numel() * config.hop_length / config.sampling_rate

    def before_step(self, step: int, load: Callable[[int], Iterator[list[PriorBatch]]]) -> None:
        self._step, self._part = step, 0

    def loss(self, model: nn.Module, batch: PriorBatch) -> Loss:
        batch = self._hide_names(batch)
        output = model(batch.codes, **batch.conditioning())
        metrics = {"bits_per_code": output.music_loss.detach()}
        if output.lyric_loss is not None:
            metrics["lyric_bits"] = output.lyric_loss.detach()
        return Loss(output.loss, metrics)

    def _hide_names(self, batch: PriorBatch) -> PriorBatch:
        """Replace the artist of some examples, and artist and genre of some, by `unknown`."""
        labels = batch.labels
        if labels is None:
            return batch
        artists = self._draw("artists", self.settings.unknown_artist_share, batch)
        names = self._draw("names", self.settings.unknown_names_share, batch)
        self._part += 1
        if artists is not None:
            labels = labels._replace(artist=labels.artist.masked_fill(artists, UNKNOWN_ID))
        if names is not None:
            labels = labels.without_names(names)
        return batch._replace(labels=labels)

    def _draw(self, purpose: str, share: float, batch: PriorBatch) -> Tensor | None:
        """(batch,) bool, true for about this share of the examples; None for none."""
        if not share:
            return None
        seed = derived_seed(self.settings.seed, purpose, self._step, self._part, self.process)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(len(batch.codes), generator=generator) < share
        return drawn.to(batch.codes.device)

    def after_step(self, step: int, *, succeeded: bool) -> dict[str, Tensor]:
        return {}

    def evaluate(self, batches: Iterable[PriorBatch]) -> PriorEvaluation:
        return evaluate_prior(self.model, batches)

    def warnings(self, evaluation: CodecEvaluation | PriorEvaluation) -> list[str]:
        return []

    @torch.no_grad()
    def samples(self, batches: Iterable[PriorBatch]) -> AudibleSamples:
        """Takes sampled from nothing, with what conditions some held-out windows."""
        if self.codec is None:
            raise ValueError(
                "samples need the codec that decodes them; set `codec`, or sample_every=0"
            )
        config = self.model.config
        wanted = int(self.settings.sample_seconds * config.sampling_rate / config.hop_length)
        length = min(config.context_length, max(1, wanted))
        found: dict[str, Tensor] = {}
        with evaluating(self.model):
            sampler = WindowSampler(self.model, LevelSettings(), 1)
            for number, window in enumerate(take_items(batches, self.settings.num_samples)):
                window = window.to(self.model.device)
                given = self.model.condition(**window.conditioning())
                noise = uniform_noise(
                    seed=self.settings.seed, take=number, level=config.level, start=0, count=length
                )
                codes = sampler.sample(window.codes[:, :0], noise[None], given)
                audio = self.codec.decode(codes.clone(), config.level)
                found[f"take_{number}"] = audio[0].float().cpu()
        return AudibleSamples(config.sampling_rate, found)

    def save(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        if self.settings.lora_rank:
            save_adapter(self.model, self.processor, folder, state)
            return
        self.model.save_pretrained(folder, state_dict=dict(state))
        if self.processor is not None:
            self.processor.save_pretrained(folder)

    def export(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        export_component(
            folder,
            self.component,
            partial(save_whole, self, state=state),
            self.model.config,
            base=self.base,
            is_adapter=bool(self.settings.lora_rank),
            notes=self.notes,
        )

    def compilable(self) -> list[nn.Module]:
        return list(self.model.decoder.layers)


def save_whole(task: Task[Any], folder: Path, state: Mapping[str, Tensor]) -> None:
    """Save a component with the permissions that new files have."""
    task.save(folder, state)
    give_usual_permissions(folder)


def take_items(batches: Iterable[Any], count: int) -> Iterator[Any]:
    """The first `count` items of batches: (1, samples) of audio, `PriorBatch`es of one window."""
    left = count
    for batch in batches:
        if isinstance(batch, PriorBatch):
            rows = [torch.tensor([row]) for row in range(len(batch.codes))]
            items: list[Any] = [_select(batch, row) for row in rows[:left]]
        else:
            items = list(batch[:left])
        yield from items
        left -= len(items)
        if left <= 0:
            return


def _select(batch: PriorBatch, rows: Tensor) -> PriorBatch:
    parts = [
        part.select(rows)
        if isinstance(part, JukeboxLabels)
        else part
        if part is None
        else part[rows]
        for part in batch
    ]
    return PriorBatch(*parts)  # type: ignore[arg-type]


def gather_rows(rows: Tensor, processes: int) -> Tensor:
    """The rows of all processes, in their order; `rows` itself if there is only one process."""
    if processes == 1:
        return rows
    from torch import distributed

    gathered = [torch.empty_like(rows) for _ in range(processes)]
    distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)
