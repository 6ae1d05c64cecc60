"""What the default installation brings along, and under which licences: packages and libraries."""

import importlib.metadata
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

# Libraries in wheels that metadata do not name. LGPL libraries are files of their own there, which
# anyone may exchange, as the licence asks: soundfile's libsndfile (with LGPL libmpg123 and LAME in
# it), and soxr's libsoxr, which is linked into its module and comes with its source. What torch's
# wheels carry from NVIDIA is under NVIDIA's licence; only Linux wheels with CUDA have it.
GPL_LIBRARIES = re.compile(
    r"lib(x264|x265|xvid|avcodec|avformat|avfilter|postproc|rubberband|readline|gsl|fftw3?|vidstab|"
    r"cdio|dvdread)\b",
    re.IGNORECASE,
)
LIBRARY = re.compile(r"\.(so|dylib|dll|pyd)(\.\d+)*$", re.IGNORECASE)
# Says LGPL or one of several licences, of which we take the other.
MAY_SAY_GPL = {"soxr": "LGPL-2.1-or-later"}
COPYLEFT = re.compile(r"(?<![A-Za-z])A?GPL|General Public License", re.IGNORECASE)

ROOT = Path(__file__).resolve().parent.parent


def call_of_setup() -> dict[str, Any]:
    """What setup.py gives to `setup`."""
    given: dict[str, Any] = {}
    stand_in = ModuleType("setuptools")
    stand_in.setup = given.update  # type: ignore[attr-defined]
    stand_in.find_packages = lambda *args, **options: []  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "setuptools", stand_in)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


def runtime_packages() -> dict[str, importlib.metadata.Distribution]:
    """All that `pip install jukebox-hf` brings, from the metadata of what is installed."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [Requirement(text) for text in call_of_setup()["install_requires"]]
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.fail(f"{name} is not installed, so that its licence cannot be read")
        waiting += [Requirement(text) for text in found[name].requires or []]
    return found


def stated(distribution: importlib.metadata.Distribution) -> str:
    """What a package's metadata say of its licence."""
    metadata = distribution.metadata
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
    fields = [metadata.get("License-Expression"), (metadata.get("License") or "")[:200]]
    return "; ".join(text for text in [*fields, *classifiers] if text)


def test_no_package_of_the_default_installation_is_under_the_gpl() -> None:
    packages = runtime_packages()
    assert {"torch", "transformers", "soundfile", "soxr", "anyascii"} <= set(packages)
    for name, distribution in packages.items():
        licence = stated(distribution)
        files = [str(f) for f in distribution.files or []]
        has_text = any(re.search(r"licen[cs]e|copying", Path(f).name, re.IGNORECASE) for f in files)
        is_empty = all(".dist-info/" in f for f in files)  # it only asks for others
        assert licence or has_text or is_empty, f"{name} does not say under which licence it is"
        if COPYLEFT.search(licence):
            assert MAY_SAY_GPL.get(name) == licence, f"{name}: {licence}"


def test_no_library_in_their_wheels_is_under_the_gpl() -> None:
    names = [
        (package, Path(str(file)).name)
        for package, distribution in runtime_packages().items()
        for file in distribution.files or []
        if LIBRARY.search(str(file))
    ]
    assert any("sndfile" in name for _, name in names)
    assert [pair for pair in names if GPL_LIBRARIES.search(pair[1])] == []


def test_what_is_under_the_gpl_is_an_extra_and_said() -> None:
    extras = call_of_setup()["extras_require"]
    assert [Requirement(text).name for text in extras["formats"]] == ["av"]
    assert [Requirement(text).name for text in extras["exact-lyrics"]] == ["Unidecode"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for word in ("libx264", "`exact-lyrics`", "GPL", "[formats]"):
        assert word in readme


def test_the_library_of_formats_is_known_for_what_it_carries() -> None:
    """Its metadata say BSD; if that becomes the whole truth, the README can say so."""
    files = [Path(str(f)).name for f in importlib.metadata.files("av") or []]
    libraries = [name for name in files if LIBRARY.search(name)]
    if not any("avcodec" in name for name in libraries):
        pytest.skip("this av uses the system's FFmpeg")
    assert any(GPL_LIBRARIES.search(n) and ("x264" in n or "x265" in n) for n in libraries)


def test_the_wheel_names_the_licences_of_all_that_is_in_it() -> None:
    given = call_of_setup()
    assert given["license_expression"] == "Apache-2.0 AND CC-BY-SA-4.0"
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in given["license_files"]]
    assert "Apache License" in texts[0]
    assert "Attribution-ShareAlike 4.0" in texts[1]
