"""Registers the models with transformers' Auto classes; importing this is all there is to do.

`import jukebox_hf` sees to it by itself, as soon as transformers' Auto classes are imported too.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextToWaveform,
    AutoProcessor,
    AutoTokenizer,
)

from jukebox_hf.labels import JukeboxProcessor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior as JukeboxPrior  # registers itself
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE as JukeboxVQVAE  # as well
from jukebox_hf.whole_model import JukeboxModel, JukeboxModelConfig, JukeboxText

AutoProcessor.register(  # type: ignore[no-untyped-call]
    JukeboxPriorConfig, JukeboxProcessor, exist_ok=True
)
AutoConfig.register(JukeboxModelConfig.model_type, JukeboxModelConfig, exist_ok=True)
AutoModel.register(JukeboxModelConfig, JukeboxModel, exist_ok=True)
AutoModelForTextToWaveform.register(JukeboxModelConfig, JukeboxModel, exist_ok=True)
AutoTokenizer.register(  # type: ignore[no-untyped-call]
    JukeboxModelConfig, slow_tokenizer_class=JukeboxText, exist_ok=True
)
