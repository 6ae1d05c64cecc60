"""A whole model as transformers sees it: `AutoModel`, and `pipeline("text-to-audio", model=...)`.

The folder of a model says by its root `config.json` that it is one. Reading, checking and sampling
are `System`'s and `JukeboxPipeline`'s; this only puts them behind transformers' doors. The text of
the pipeline is a genre; everything else that `JukeboxPipeline.generate` takes goes beside it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature, PythonBackend
from transformers.utils.generic import ModelOutput

from jukebox_hf.configuration import JukeboxConfig
from jukebox_hf.hub import System
from jukebox_hf.hub.manifest import WHOLE_MODEL_TYPE
from jukebox_hf.pretrained import DEFAULT_DTYPE, JukeboxPreTrainedModel, refuse_quantization
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.strictness import checked_config

DTYPE_PRECISIONS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


@checked_config
class JukeboxModelConfig(JukeboxConfig):  # type: ignore[no-untyped-call]
    """What the root `config.json` of a model says; `jukebox.json` says the rest.

    sampling_rate: of its audio, in Hz; filled in when the model is opened.
    """

    model_type = WHOLE_MODEL_TYPE
    sampling_rate: int | None = None


@dataclass
class JukeboxModelOutput(ModelOutput):
    """audio: (batch, 1, samples) float32, nominally in [-1, 1]."""

    audio: Tensor | None = None


class JukeboxModel(JukeboxPreTrainedModel):
    """All levels of a model: `vqvae`, the prior of each level by `prior`, and music by calling it.

    The VQ-VAE is loaded when the model is opened, priors when they are needed.
    """

    config_class = JukeboxModelConfig
    config: JukeboxModelConfig
    main_input_name = "text"
    _supports_sdpa = True
    attention_implementations = JukeboxPrior.attention_implementations

    def __init__(
        self, config: JukeboxModelConfig, system: System, *, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(config)
        self.system = system
        self.vqvae = system.load_vqvae()
        self.prior_dtype = dtype
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: all weights are read."""

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        config: JukeboxModelConfig | None = None,
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        device_map: str | torch.device | Mapping[str, Any] | None = None,
        attn_implementation: str | None = None,
        **kwargs: Any,
    ) -> "JukeboxModel":
        """Open a model from a folder or a repository on the Hub.

        Args:
            pretrained_model_name_or_path: of the whole model.
            model_args: none.
            config: that transformers has read.
            dtype: of the priors, default float32; "auto": as stored, if all are alike. The VQ-VAE
                is float32 in any case, as the pipeline has it.
            revision, cache_dir, local_files_only: as for any model.
            device_map: one device for all of it; "auto": the best one here.
            attn_implementation: of the priors that `prior` gives.
            kwargs: what else transformers passes on; a `quantization_config` is refused.

        Raises:
            ValueError: for a model that is none, or a way of loading that it has not.
        """
        refuse_quantization(kwargs.get("quantization_config"))
        system = System.open(
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        config = config or JukeboxModelConfig()
        config.sampling_rate = system.vqvae_config().sampling_rate
        if attn_implementation is not None:
            config._attn_implementation = attn_implementation
        chosen: Any = DEFAULT_DTYPE if dtype is None else dtype
        if chosen == "auto":
            stored = {_stored_dtype(system, level) for level in system.prior_levels}
            chosen = stored.pop() if len(stored) == 1 else None
            chosen = DEFAULT_DTYPE if chosen is None else chosen
        if isinstance(chosen, str):
            chosen = getattr(torch, chosen, None)
        if chosen not in DTYPE_PRECISIONS:
            known = ", ".join(DTYPE_PRECISIONS.values())
            raise ValueError(f"dtype must be one of {known}, got {dtype!r:.80}")
        model = cls(config, system, dtype=chosen)
        model.eval()  # type: ignore[no-untyped-call]
        if device_map is not None:
            torch.nn.Module.to(model, _one_device(device_map))
        return model

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | os.PathLike[str], **kwargs: Any
    ) -> None:
        """Make a folder that holds the model with all its parts."""
        from jukebox_hf.hub import copy_system

        copy_system(self.system, save_directory)

    def prior(self, level: int) -> JukeboxPrior:
        """The prior of a level, loaded anew, where this model is."""
        prior = self.system.load_prior(level, device=self.device, dtype=self.prior_dtype)
        prior.set_attn_implementation(self.config._attn_implementation)
        return prior

    def forward(self, text: str | Sequence[str], **request: Any) -> JukeboxModelOutput:
        """Make music.

        Args:
            text: a genre, or one for each piece; "" is none.
            request: what `JukeboxPipeline.generate` takes, such as artist, lyrics, seconds, seed.
        """
        from jukebox_hf.generation.pipeline import JukeboxPipeline
        from jukebox_hf.generation.settings import Prompt

        texts = [text] if isinstance(text, str) else list(text)
        names = ("artist", "lyrics", "seconds", "total_seconds", "offset_seconds", "primer")
        own = {name: request.pop(name) for name in names if name in request}
        pipeline = JukeboxPipeline(
            self.system, device=self.device, precision=DTYPE_PRECISIONS[self.prior_dtype]
        )
        prompts = [Prompt(genre=each or None, **own) for each in texts]
        music = pipeline.generate(prompts=prompts, **request)
        longest = max(audio.shape[-1] for audio in music.audio)
        padded = [
            torch.nn.functional.pad(audio, (0, longest - audio.shape[-1])) for audio in music.audio
        ]
        return JukeboxModelOutput(audio=torch.stack(padded))


def _stored_dtype(system: System, level: int) -> torch.dtype | str | None:
    """The dtype that the config of a level's prior names, if it does."""
    return JukeboxPriorConfig.of(system.prior_config(level)).dtype


def _one_device(device_map: str | torch.device | Mapping[str, Any]) -> torch.device:
    """The device that a map of transformers names for all of a model."""
    from jukebox_hf.generation import resolve_device

    named = device_map.values() if isinstance(device_map, Mapping) else [device_map]
    devices = {resolve_device(each) for each in named}
    if len(devices) != 1:
        raise ValueError(f"device_map must name one device for the whole model, got {device_map!r}")
    return devices.pop()


class JukeboxText(PythonBackend):
    """Text for `JukeboxModel`, which takes it as it is: what the pipeline calls a tokenizer."""

    model_input_names = ["text"]  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> "JukeboxText":
        """There is nothing to read."""
        return cls()

    @property
    def vocab_size(self) -> int:
        """Of symbols: none."""
        return 0

    def get_vocab(self) -> dict[str, int]:
        """No symbols."""
        return {}

    def __call__(self, text: str | Sequence[str], **kwargs: Any) -> BatchFeature:
        """The input of `JukeboxModel`; older pipelines move whatever they are given."""
        return BatchFeature({"text": [text] if isinstance(text, str) else list(text)})
