"""The settings of one training run: typed, checked, read from YAML presets and overridden by name.

A preset is a YAML file of these settings. A misspelt one is refused with the nearest name; so is
one of the wrong type. What the settings mean is documented at `TrainingSettings`.
"""

import difflib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from jukebox_hf.files import write_text
from jukebox_hf.strictness import checked_config
from jukebox_hf.training.song_selection import SongSelection
from jukebox_hf.words import refuse_unknown, shorten

PRESETS = "presets"  # folder of the package that holds the built-in ones
MAX_YAML_BYTES, MAX_YAML_DEPTH = 1_000_000, 32
LARGEST = 1e15  # of any number but the seed: more steps, samples or seconds than anybody has
TRACKERS = ("tensorboard", "trackio", "wandb")
OptimizerName = Literal["adamw", "adam_2020"]
ScheduleName = Literal["constant", "steps", "linear", "cosine"]
SLIP = 0.8  # of difflib: so alike are a setting and the same with a letter or two wrong


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What may change when a run is resumed: nothing that the weights of a step depend on. Data sets may
# have moved; that they are the same is checked when they are open.
RESUMABLE = _names(
    "output dataset validation_dataset steps max_minutes save_every keep_checkpoints "
    "evaluate_every evaluation_items sample_every num_samples sample_seconds log_every "
    "report_to tags num_workers device accumulation_steps max_failed_steps"
)


# More than anyone means; before these, memory and processes would run out.
MOST = {"batch_size": 1 << 20, "clip_samples": 1 << 28, "num_workers": 512, "lora_rank": 1 << 14}

# What transformers' `TrainingArguments`, TRL and peft call settings, by what they are called here.
NAMES_ELSEWHERE = {
    "output_dir": "output",
    "per_device_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulation_steps",
    "max_steps": "steps",
    "num_train_epochs": "steps",
    "save_steps": "save_every",
    "eval_steps": "evaluate_every",
    "logging_steps": "log_every",
    "save_total_limit": "keep_checkpoints",
    "lr_scheduler_type": "schedule",
    "optim": "optimizer",
    "adam_epsilon": "epsilon",
    "gradient_checkpointing": "activation_checkpointing",
    "torch_compile": "compile",
    "dataloader_num_workers": "num_workers",
    "dataset_name": "dataset",
    "dataset_config": "subset",
    "eval_dataset": "validation_dataset",
    "model_name_or_path": "start_from",
    "bf16": "precision",
    "fp16": "precision",
    "lora_r": "lora_rank",
    "r": "lora_rank",
}


@checked_config
@dataclass(kw_only=True)
class TrainingSettings(SongSelection):
    """Everything that defines a training run. `None` means "not given".

    What is trained:
        task: "vqvae" (the codec) or "prior" (of one level).
        output: the folder of the run: checkpoints, log, samples, and in the end `final/`.
        model: fields of the model's config. `preset` among them names a config to start from
            (`JukeboxVQVAEConfig.preset`, `JukeboxPriorConfig.preset`). A prior's level, hop length,
            codebook and what conditions it follow from its codec, and need not be given.
        start_from: folder or repository of a model whose weights training starts from.
        codec: of a prior: folder or repository of the system, or codec, whose codes it learns.
        level: of a prior: whose codes it learns, 0 is the finest.
        lora_rank: of a prior that starts from another: train low-rank additions to its linear
            layers instead of all weights (LoRA, Hu et al. 2021, arXiv:2106.09685); 0 is off.
        lora_alpha: of LoRA: the additions are scaled by `lora_alpha / lora_rank`.
        lora_dropout: of LoRA: probability, in training only.

    Songs:
        dataset: folder of songs or codes, or a dataset on the Hub.
        split, subset, revision: of the dataset: see `open_songs`.
        audio_column, artist_column, genre_column, lyrics_column: what it calls them; `None` takes
            `artist`, `genre` and `lyrics` if they are there.
        validation_dataset: songs to evaluate on; else `validation_fraction` of `dataset` is held
            out, by song.
        validation_fraction: share of songs held out; at least one song, unless 0.
        clip_samples: length of the codec's training clips, in audio samples.
        random_shift: move clips by up to half their length, anew in every epoch.
        random_blend: mix stereo down in random proportions instead of halves.
        labels: of a new prior: condition on the artists and genres of the songs.
        label_dialect: how names are spelt, see `PriorProcessor`; "v3" keeps genres whole.
        unknown_artist_share: share of examples whose artist is hidden, so that generating without
            an artist works.
        unknown_names_share: share of examples whose artist and genre are both hidden, so that
            guidance (`LevelSettings`) knows what music is like without them.
        num_workers: processes that read songs, per training process.

    Steps:
        steps: optimizer steps of the whole run.
        max_minutes: stop after so long, with a checkpoint and `final/`.
        batch_size: examples per step, over all processes and accumulation.
        accumulation_steps: parts that each process's share is cut into, to need less memory.
        learning_rate: at its highest.
        warmup_steps: the learning rate rises linearly over so many.
        schedule: "constant", "steps", "linear" or "cosine"; see `learning_rate_factor`.
        decay_start: step at which linear and cosine decay begin.
        decay_steps: how long they take, or steps between two decays; `None`: to the end of the run.
        decay_factor: of "steps": factor per decay; of "cosine": the factor at the end.
        optimizer: "adamw", or "adam_2020", the original's own.
        beta1, beta2, epsilon, weight_decay: of the optimizer.
        max_grad_norm: gradients are scaled down to this norm.
        average_weights: keep a moving average of the weights, for evaluation and export.
        ema_decay: of that average; `None`: the original's formula (`default_ema_decay`).
        precision: "float32", or "bfloat16" or "float16" for what can be computed in 16 bits.
            Weights are float32 always.
        activation_checkpointing: compute activations twice instead of keeping them.
        compile: compile the layers with `torch.compile`.
        max_failed_steps: abort after so many steps in a row whose gradients were not finite.
        seed: of everything random: weights, order, clips, dropout, restarts.
        device: "auto", "cpu", "cuda" or "mps".

    Codec only:
        freeze_encoder: of a codec that starts from another: encoders and codebooks stay as they
            are and only decoders learn, so codes, and every prior trained on them, stay valid.
        unquantized_steps: train the auto-encoder so long before the codebooks come in.
        kmeans_steps: rounds of k-means on the latents that the codebooks start with; 0: they start
            as random latents, as the original's did.
        revival_threshold: average use below which a code is replaced; `None`: the smaller of the
            config's and 0.15 times the average of all codes.
        bandwidth_seconds: measure the bandwidth that losses are divided by on so much audio; 0:
            take the config's.
        min_perplexity_share: warn when the perplexity of a level's codes falls below this share of
            the codebook size.

    Checkpoints and reports:
        save_every, evaluate_every, sample_every, log_every: in steps; 0: only at the end (samples:
            never).
        keep_checkpoints: how many of the latest stay.
        evaluation_items: examples to evaluate on, at most.
        num_samples: songs to reconstruct, or takes to sample.
        sample_seconds: length of each.
        report_to: any of "tensorboard", "trackio", "wandb".
        tags: words by which wandb finds the run, beside its task, level, model and codec; a preset
            brings its name.
    """

    task: Literal["vqvae", "prior"]
    output: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    start_from: str | None = None
    codec: str | None = None
    level: int | None = None
    lora_rank: int = 0
    lora_alpha: float | int = 16
    lora_dropout: float | int = 0.0

    clip_samples: int = 65536
    random_shift: bool = True
    random_blend: bool = True
    labels: bool = False
    label_dialect: Literal["v2", "v3"] = "v3"
    unknown_artist_share: float | int = 0.0
    unknown_names_share: float | int = 0.0
    num_workers: int = 0

    steps: int = 10000
    max_minutes: float | int | None = None
    batch_size: int = 8
    accumulation_steps: int = 1
    learning_rate: float | int = 3e-4
    warmup_steps: int = 100
    schedule: ScheduleName = "constant"
    decay_start: int = 0
    decay_steps: int | None = None
    decay_factor: float | int = 0.0
    optimizer: OptimizerName = "adamw"
    beta1: float | int = 0.9
    beta2: float | int = 0.999
    epsilon: float | int = 1e-8
    weight_decay: float | int = 0.0
    max_grad_norm: float | int = 1.0
    average_weights: bool = True
    ema_decay: float | int | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    activation_checkpointing: bool = False
    compile: bool = False
    max_failed_steps: int = 100
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    freeze_encoder: bool = False
    unquantized_steps: int = 0
    kmeans_steps: int = 0
    revival_threshold: float | int | None = None
    bandwidth_seconds: float | int = 600
    min_perplexity_share: float | int = 0.1

    save_every: int = 1000
    evaluate_every: int = 1000
    sample_every: int = 0
    log_every: int = 50
    keep_checkpoints: int = 2
    evaluation_items: int = 256
    num_samples: int = 2
    sample_seconds: float | int = 10.0
    report_to: list[str] | tuple[str, ...] = ()
    tags: list[str] | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` for the first value that makes no sense."""
        super().__post_init__()
        if isinstance(self.report_to, list):
            self.report_to = tuple(self.report_to)
        if isinstance(self.tags, list):
            self.tags = tuple(self.tags)
        refuse_unknown(self.report_to, TRACKERS, "report_to")
        self._check(
            "steps clip_samples batch_size accumulation_steps log_every keep_checkpoints "
            "max_failed_steps",
            lambda value: value >= 1,
            "at least 1",
        )
        self._check(
            "learning_rate epsilon max_grad_norm lora_alpha sample_seconds max_minutes decay_steps",
            lambda value: value > 0,
            "positive",
        )
        self._check(
            "level lora_rank num_workers warmup_steps decay_start decay_factor weight_decay "
            "unquantized_steps kmeans_steps revival_threshold bandwidth_seconds "
            "min_perplexity_share save_every evaluate_every sample_every evaluation_items "
            "num_samples",
            lambda value: value >= 0,
            "at least 0",
        )
        self._check(
            "unknown_artist_share unknown_names_share lora_dropout beta1 beta2 ema_decay",
            lambda value: 0 <= value < 1,
            "at least 0 and below 1",
        )
        for name, most in MOST.items():
            self._check(name, lambda value, most=most: value <= most, f"at most {most:,}")
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"accumulation_steps must divide batch_size, got {self.accumulation_steps} and "
                f"{self.batch_size}"
            )
        if self.schedule == "steps" and not self.decay_steps:
            raise ValueError("schedule 'steps' needs decay_steps, the steps between two decays")
        if self.task == "vqvae" and self.unquantized_steps >= self.steps:
            raise ValueError(
                f"unquantized_steps must be fewer than steps, got {self.unquantized_steps} of "
                f"{self.steps}: the codebooks would never come in"
            )
        self._check_task()

    def _check(self, names: str, holds: Any, expectation: str) -> None:
        for name in names.split():
            value = getattr(self, name)
            if value is None:
                continue
            if not (abs(value) <= LARGEST and math.isfinite(value) and holds(value)):
                raise ValueError(f"{name} must be {expectation}, got {shorten(value)}")

    def _check_task(self) -> None:
        """Settings of the one task must not be given to the other."""
        foreign = _PRIOR_ONLY if self.task == "vqvae" else _CODEC_ONLY
        defaults = {entry.name: entry.default for entry in fields(self)}
        for name in foreign:
            if getattr(self, name) != defaults[name]:
                raise ValueError(f"{name} means nothing for task {self.task!r}; leave it out")
        idle = {} if self.lora_rank else dict.fromkeys(("lora_alpha", "lora_dropout"), "lora_rank")
        if self.schedule in ("constant", "steps"):
            idle["decay_start"] = "schedule 'linear' or 'cosine'"
        if self.schedule in ("constant", "linear"):
            idle["decay_factor"] = "schedule 'steps' or 'cosine'"
        if self.schedule == "constant":
            idle["decay_steps"] = "another schedule than 'constant'"
        if not self.average_weights:
            idle["ema_decay"] = "average_weights"
        if self.freeze_encoder:
            idle["revival_threshold"] = "codebooks that learn (freeze_encoder=false)"
        for name, needed in idle.items():
            if getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"{name} has no effect without {needed}; leave it out, or where a preset has "
                    f"it say {name}={'null' if defaults[name] is None else defaults[name]}"
                )
        if self.lora_rank and self.start_from is None:
            raise ValueError("lora_rank needs start_from: LoRA adapts a prior that exists")
        if self.freeze_encoder and self.start_from is None:
            raise ValueError("freeze_encoder needs start_from: a new encoder has to learn")

    @property
    def decay_length(self) -> int:
        """Steps that the decay of the learning rate takes."""
        return self.decay_steps or max(1, self.steps - self.decay_start)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "TrainingSettings":
        """The built-in settings called `name` (`preset_names`), with some replaced.

        `model` is merged field by field. Raises `ValueError` for unknown names and settings.
        """
        return cls.load(preset_path(name), **{"tags": [name], **overrides})

    @classmethod
    def load(cls, path: str | os.PathLike[str], **overrides: Any) -> "TrainingSettings":
        """Settings from a YAML file, with some replaced; `model` is merged field by field.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not YAML, or a setting is unknown or makes no sense.
        """
        return cls.from_mapping(merge_settings(read_yaml(path), overrides), source=str(path))

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], *, source: str) -> "TrainingSettings":
        """Settings from plain values, as YAML gives them; errors begin with `source`."""
        known = {entry.name: entry for entry in fields(cls)}
        _refuse_fields_of_models([name for name in content if name not in known], known, source)
        refuse_unknown(content, known, source, elsewhere=NAMES_ELSEWHERE)
        try:
            return cls(
                **{name: _number(known[name].type, value) for name, value in content.items()}
            )
        except TypeError as error:
            raise ValueError(f"{source}: {error}; give at least `task`") from error
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    def with_changes(self, **changes: Any) -> "TrainingSettings":
        """A copy with some settings replaced; `model` is merged field by field."""
        if "model" in changes:
            changes["model"] = {**self.model, **changes["model"]}
        return replace(self, **changes)

    def resumed_with(self, changes: Mapping[str, Any]) -> "TrainingSettings":
        """A copy for going on with a run. `ValueError` for changes that make it another run."""
        changed = {name: value for name, value in changes.items() if getattr(self, name) != value}
        for name in changed:
            if name not in RESUMABLE:
                raise ValueError(
                    f"this run was started with {name}={shorten(getattr(self, name))}, and going "
                    f"on with {shorten(changed[name])} would make it another run; leave {name} "
                    "out, or start anew in another folder"
                )
        return replace(self, **changed)

    def save(self, path: Path) -> None:
        """Write a YAML file that `load` reads back equal, without what is at its default."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        write_text(path, text)

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as plain values."""
        given = {}
        for entry, value in zip(fields(self), asdict(self).values(), strict=True):
            default = entry.default_factory() if callable(entry.default_factory) else entry.default
            if value != default:
                given[entry.name] = list(value) if isinstance(value, tuple) else value
        return given


def _refuse_fields_of_models(unknown: Sequence[str], known: Iterable[str], source: str) -> None:
    """Raise `ValueError` for a setting that is nearer to a field of a model than to any setting."""
    names = list(known)
    unknown = [
        name
        for name in unknown
        if name not in NAMES_ELSEWHERE
        and not difflib.get_close_matches(name[:100], names, n=1, cutoff=SLIP)
    ]
    if not unknown:
        return
    from jukebox_hf.prior.prior_config import PriorConfig
    from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

    of_models = {entry.name for kind in (VQVAEConfig, PriorConfig) for entry in fields(kind)}
    for name in unknown:
        nearest = difflib.get_close_matches(name[:100], [*names, *sorted(of_models)], n=1)
        if nearest and nearest[0] in of_models:
            raise ValueError(
                f"{source}: unknown setting {shorten(name)}. Did you mean 'model.{nearest[0]}'?"
            )


_PRIOR_ONLY = (
    "codec",
    "level",
    "lora_rank",
    "labels",
    "unknown_artist_share",
    "unknown_names_share",
)
_CODEC_ONLY = ("freeze_encoder", "unquantized_steps", "kmeans_steps", "revival_threshold")


def setting_names() -> tuple[str, ...]:
    """Names of all settings."""
    return tuple(entry.name for entry in fields(TrainingSettings))


def preset_names() -> list[str]:
    """Names of the built-in presets."""
    folder = files("jukebox_hf") / PRESETS
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def preset_path(name: str) -> Path:
    """The file of a built-in preset; `ValueError` for an unknown one, naming the nearest."""
    known = preset_names()
    if name not in known:
        nearest = difflib.get_close_matches(name[:100], known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
        raise ValueError(f"no preset is called {shorten(name)}; {hint}")
    return Path(str(files("jukebox_hf") / PRESETS / f"{name}.yaml"))


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file; expected the settings of a training run")
    if source.stat().st_size > MAX_YAML_BYTES:
        raise ValueError(f"{source}: expected settings of at most {MAX_YAML_BYTES:,} bytes")
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: expected YAML in UTF-8 ({error})") from error
    content = parse_yaml(text, str(source))
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{source}: expected `setting: value` lines, found {shorten(content)}")
    return content


def parse_yaml(text: str, source: str) -> Any:
    """The plain values of a YAML text.

    Raises `ValueError`, beginning with `source`, for what is no YAML, for aliases (a few lines of
    them stand for gigabytes) and for values nested absurdly deep.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"{source}: aliases are not understood; write values out")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_YAML_DEPTH:
                raise ValueError(f"{source}: expected at most {MAX_YAML_DEPTH} nested values")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{source}: expected YAML, found something else ({said:.200})") from None
    except (ArithmeticError, TypeError, AttributeError, LookupError) as error:
        # a date that is none, a key that is a list: safe_load's own slips
        raise ValueError(f"{source}: expected YAML, found something else ({error})") from None
    except ValueError as error:
        if str(error).startswith(source):
            raise
        raise ValueError(f"{source}: expected YAML, found something else ({error})") from None


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` texts as a mapping; values are YAML, and `model.FIELD=VALUE` is nested.

    >>> parse_overrides(["steps=20", "model.width=64", "report_to=[tensorboard]"])
    {'steps': 20, 'model': {'width': 64}, 'report_to': ['tensorboard']}
    """
    content: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise ValueError(f"expected SETTING=VALUE, got {shorten(assignment)}")
        value = parse_yaml(text, shorten(name)[1:-1])
        outer, dot, inner = name.partition(".")
        if dot:
            nested = content.setdefault(outer, {})
            if outer != "model" or not isinstance(nested, dict):
                raise ValueError(f"only `model` has fields of its own, got {shorten(name)}")
            nested[inner] = value
        else:
            content[name] = value
    return content


def merge_settings(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`overrides` over `content`, and so for the fields of `model`."""
    merged = {**content, **overrides}
    if isinstance(content.get("model"), dict) and isinstance(overrides.get("model"), dict):
        merged["model"] = {**content["model"], **overrides["model"]}
    return merged


def _number(expected: Any, value: Any) -> Any:
    """YAML 1.1 reads `3e-4` as text: where a number is expected, take it as one."""
    if isinstance(value, str) and "float" in str(expected):
        try:
            return float(value)
        except ValueError:
            return value
    return value
