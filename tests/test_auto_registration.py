"""The models are known to transformers' Auto classes, in whichever order things are imported."""

import subprocess
import sys

import pytest

ASK = """
from transformers import AutoConfig, AutoModel, AutoProcessor
config = AutoConfig.for_model("jukebox_hf_prior")
print(type(AutoModel.from_config(AutoConfig.for_model("jukebox_hf_vqvae"))).__name__)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
print(PROCESSOR_MAPPING[type(config)].__name__)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import jukebox_hf",
        "from transformers import AutoConfig; import jukebox_hf",
        "import jukebox_hf; from transformers import GPT2Model, pipeline",
        "from jukebox_hf import JukeboxVQVAE",
    ],
)
def test_auto_classes_know_the_models_whatever_is_imported_first(imports: str) -> None:
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", imports + ASK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == ["JukeboxVQVAE", "JukeboxProcessor"], found.stderr


def test_importing_the_library_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, jukebox_hf; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
