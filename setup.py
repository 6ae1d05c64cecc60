"""Everything there is to know about the package; `pyproject.toml` holds tool settings only.

`cli/` installs as `jukebox_cli` and `model_cards/` as `jukebox_model_cards`, so that nothing called
`cli` lands in anyone's environment and `jukebox --help` does not import the library.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
FOLDERS = {"jukebox_cli": "cli", "jukebox_model_cards": "model_cards"}
NOT_INSTALLED = ["recipe", "recipe.*", "guide"]  # run from a checkout


def read_version() -> str:
    """The version, read as text: importing the package would need torch."""
    text = (ROOT / "jukebox_hf" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    assert found is not None
    return found.group(1)


def list_packages() -> list[str]:
    packages = find_packages(include=["jukebox_hf", "jukebox_hf.*"])
    for name, folder in FOLDERS.items():
        inner = find_packages(folder, exclude=NOT_INSTALLED)
        packages += [name] + [f"{name}.{one}" for one in inner]
    return packages


STUDIO = ["starlette>=1,<2", "uvicorn>=0.40,<1"]
# FFmpeg without a system package: m4a, aac, wma, webm, mkv, the sound of videos. Wheels of av are
# under the GPL as a whole, whatever their metadata say: they hold libx264 and libx265, without
# which their FFmpeg cannot be loaded.
FORMATS = ["av>=17.1"]  # older ones end the whole process on some damaged files
# The transliteration that the released models were trained with, to the letter; under the GPL.
EXACT_LYRICS = ["Unidecode>=1.4"]
DOCS = ["pdoc>=15"]
TEST = [
    *DOCS,
    *STUDIO,
    *FORMATS,
    *EXACT_LYRICS,
    "hypothesis>=6",
    "peft>=0.18",
    "pytest>=8",
    "pytest-timeout>=2",
    "pytest-xdist>=3",
]

setup(
    name="jukebox-hf",
    version=read_version(),
    description="Jukebox on the Hugging Face stack: music as raw audio, with singing.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    # The code, and the built-in model, whose music asks for it (jukebox_hf/demo/ATTRIBUTION.md).
    license_expression="Apache-2.0 AND CC-BY-SA-4.0",
    license_files=["LICENSE", "jukebox_hf/demo/LICENSE"],
    keywords="music generation, jukebox, vq-vae, singing, lyrics, raw audio",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Multimedia :: Sound/Audio",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=list_packages(),
    package_dir=FOLDERS,
    package_data={
        "jukebox_hf": ["py.typed", "demo/**/*", "presets/**/*.yaml"],
        "jukebox_cli": ["py.typed", "studio/page/*"],
        "jukebox_model_cards": ["*.md", "*.j2", "*.json"],
    },
    entry_points={"console_scripts": ["jukebox = jukebox_cli.main:main"]},
    install_requires=[
        "torch>=2.11",
        "transformers>=5.17,<6",
        "huggingface-hub>=1.31,<3",
        "accelerate>=1.15,<2",
        "datasets>=4.5,<6",
        "click>=8.1,<9",
        "filelock>=4.2.11",  # the first that truncates and follows nothing, and tells of its holder
        "pydub>=0.25.1",
        'audioop-lts>=0.2.1; python_version >= "3.13"',  # pydub imports audioop, gone in 3.13
        "numpy>=1.26",
        "pyarrow>=21",
        "safetensors>=0.8",
        "soundfile>=0.13",
        "soxr>=0.5",
        "anyascii>=0.3.2",
        "tqdm>=4.67",
        "PyYAML>=6",
        "Jinja2>=3",
        "Pillow>=10.1",
        "psutil>=5.9",
    ],
    extras_require={
        "formats": FORMATS,
        "exact-lyrics": EXACT_LYRICS,
        # And without its dependencies, which are TensorFlow: pip install --no-deps basic-pitch
        "evaluate": ["onnxruntime>=1.20"],
        "docs": DOCS,
        "lora": ["peft>=0.18"],
        "tensorboard": ["tensorboard"],
        "browser": ["axe-playwright-python>=0.1.8", "playwright>=1.56"],  # what plays the page
        "studio": STUDIO,
        "trackio": ["trackio"],
        "wandb": ["wandb"],
        "test": TEST,
        "dev": [*TEST, "build>=1", "mypy>=1.18", "ruff>=0.14", "types-PyYAML"],
    },
)
