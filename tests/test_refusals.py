"""What the Hub refuses is one sentence, and a Hub that cannot be reached is asked once."""

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.errors as errors
import pytest

from jukebox_hf.refusals import HTTP_LIBRARIES, hub_refusals, is_connection_error


def connection_error() -> Exception:
    """As the HTTP library of huggingface_hub raises it."""
    for name in HTTP_LIBRARIES:
        if name in sys.modules and hasattr(sys.modules[name], "ConnectError"):
            error: Exception = sys.modules[name].ConnectError("no route")
            return error
    raise AssertionError("huggingface_hub uses another library")


@pytest.mark.parametrize(
    ("error", "kind", "reading", "writing"),
    [
        (errors.LocalTokenNotFoundError(), OSError, "needs an account", "hf auth login"),
        (errors.OfflineModeIsEnabled(), OSError, "HF_HUB_OFFLINE is set", "cannot be pushed to"),
        (errors.HFValidationError("bad"), ValueError, "owner/name", "owner/name (bad)"),
        (connection_error(), OSError, "connection to the Hub failed (no route)", "not sent twice"),
    ],
)
def test_every_refusal_is_one_sentence(
    error: Exception, kind: type[Exception], reading: str, writing: str
) -> None:
    for is_writing, words in ((False, reading), (True, writing)):
        with pytest.raises(kind) as caught, hub_refusals("me/x", writing=is_writing):
            raise error
        message = str(caught.value)
        assert message.startswith("me/x: ")
        assert words in message
        assert "\n" not in message


def test_errors_of_others_pass() -> None:
    assert not is_connection_error(ValueError())
    for error in (KeyError("a"), errors.LocalEntryNotFoundError("b")):
        with pytest.raises(type(error)), hub_refusals("me/x"):
            raise error


def test_a_hub_that_cannot_be_reached_is_asked_once_and_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from jukebox_hf.hub import open_location\n"
        "asked = []\n"
        "sys.addaudithook(lambda name, _: name == 'socket.connect' and asked.append(name))\n"
        "try: open_location('me/nothing')\n"
        "except OSError as error: print(error)\n"
        "print(len(asked), 'torch' in sys.modules)"
    )
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    message, last = result.stdout.splitlines()
    assert "no such repository in the cache; the Hub could not be asked" in message
    assert last == "1 False"
