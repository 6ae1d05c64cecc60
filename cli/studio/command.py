"""`jukebox studio`: a page to compose on, in the browser."""

from __future__ import annotations

import os
import re
import secrets
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import device_option, note

if TYPE_CHECKING:
    from .guard import Access

INSTALL = 'pip install "jukebox-hf[studio]"'
LOOPBACK = ("127.0.0.1", "localhost", "::1")
UPLOAD_BYTES, SPACE_UPLOAD_BYTES = 64 * 10**6, 10 * 10**6
WAITING, SPACE_WAITING = 100, 3
SPACE_SECONDS, SPACE_TAKES = 10.0, 2
EDITED_SECONDS, SPACE_EDITED_SECONDS = 3600.0, 60.0
NEEDED = ("starlette", "uvicorn")
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option(
    "--model",
    "models",
    metavar="REPO_OR_DIR",
    multiple=True,
    show_default="the model that comes with the package",
    help="Model that the page offers: a folder, or a repository on the Hub. Repeatable.",
)
@device_option
@click.option("--host", default="127.0.0.1", help="Address to listen at; 0.0.0.0 is everywhere.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="0 takes any free one.")
@click.option(
    "--token",
    show_default="a new one where others can reach the page",
    help="Secret in the page's address, or `none`.",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    help="Most new music in one go.",
)
@click.option("--max-takes", type=click.IntRange(min=1), default=8, help="Most takes side by side.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@click.option(
    "--push-to-hub",
    "space",
    metavar="OWNER/NAME",
    help="Instead of opening it here, make a Space on the Hub that runs the studio with --model.",
)
@click.option("--private", is_flag=True, help="If the Space is new, only you can see it.")
def studio(
    folder: Path,
    models: tuple[str, ...],
    device: str,
    host: str,
    port: int,
    token: str | None,
    max_seconds: float,
    max_takes: int,
    no_browser: bool,
    space: str | None,
    private: bool,
) -> None:
    """Compose on a page in the browser: make takes, listen while they grow, keep, go on, finish.

    FOLDER holds the pieces, each a session that the other commands know too. Prints the address of
    the page. What is being made when the studio is closed goes on when it is opened again.
    """
    if token is not None and not TOKEN.fullmatch(token):
        raise click.UsageError("--token has letters, digits, - and _ only, up to 128 of them")
    if space is not None:
        push(space, models, private=private)
        return
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(f"the studio needs {' and '.join(missing)}; install it with: {INSTALL}")
    if (folder / "session.json").is_file():
        raise ValueError(f"{folder} is a piece itself; give the folder that holds it")
    folder.mkdir(parents=True, exist_ok=True)

    import uvicorn

    from .app import StudioApp
    from .asking import Limits
    from .studio import Studio
    from .worker_process import WorkerProcess

    is_space = "SPACE_ID" in os.environ
    if is_space:
        host, no_browser = "0.0.0.0", True
    limits = Limits(
        seconds=min(max_seconds, SPACE_SECONDS) if is_space else max_seconds,
        takes=min(max_takes, SPACE_TAKES) if is_space else max_takes,
        upload_bytes=SPACE_UPLOAD_BYTES if is_space else UPLOAD_BYTES,
        waiting=SPACE_WAITING if is_space else WAITING,
        edited_seconds=SPACE_EDITED_SECONDS if is_space else EDITED_SECONDS,
    )
    listener = open_port(host, port)
    port = listener.getsockname()[1]
    access, address = who_may_come(host, port, token, is_space=is_space)
    made = Studio(
        folder=folder.resolve(),
        models=[*models] or [None],
        limits=limits,
        worker=WorkerProcess(device),
        is_space=is_space,
    )
    config = uvicorn.Config(
        StudioApp(made, access).app,
        log_level="warning",
        ws="none",
        timeout_graceful_shutdown=1,
        server_header=False,
        proxy_headers=False,
    )
    click.echo(address)
    note("Open that address in a browser. Ctrl-C closes the studio; nothing is lost.")
    server = uvicorn.Server(config)
    if not no_browser:
        open_browser(address)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # the usual end
        note("The studio is closed.")
    if made.queue.jobs:
        note("What was being made, or waits, goes on when it is opened again.")
        raise click.exceptions.Exit(130)


def push(space: str, models: tuple[str, ...], *, private: bool) -> None:
    """Make a Space, and say where it is."""
    from .space import push_space

    if len(models) > 1:
        raise click.UsageError("--push-to-hub takes one --model")
    done = push_space(space, models[0] if models else None, private=private)
    for text in done.notes:
        note(f"Note: {text}")
    click.echo(done.url)


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens; `OSError` with one sentence where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    if os.name != "nt":  # there it would take a port that somebody has
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(
            f"port {port} of {host} cannot be had ({error.strerror}); perhaps a studio is open "
            "there already: choose another with --port, or 0 for any free one"
        ) from None
    listener.set_inheritable(False)
    return listener


def who_may_come(host: str, port: int, token: str | None, *, is_space: bool) -> tuple[Access, str]:
    """Who may use the page, and its address."""
    from .guard import Access

    names = {host, *LOOPBACK}
    if is_space:
        names.add(os.environ.get("SPACE_HOST", ""))
    elif host not in LOOPBACK:
        names |= own_names()
    shown = [f"[{name}]" if ":" in name else name for name in names if name]
    hosts = {f"{name}:{port}".lower() for name in shown} | {name.lower() for name in shown}
    if is_space:
        return Access(
            frozenset(hosts), visitors=True, frames="https://huggingface.co"
        ), f"http://{host}:{port}/"
    secret = None if token == "none" else token
    if token is None and host not in LOOPBACK:
        secret = secrets.token_hex(16)
    reachable = socket.gethostname() if host in ("0.0.0.0", "::") else host
    place = f"[{reachable}]" if ":" in reachable else reachable
    return (
        Access(frozenset(hosts), token=secret),
        f"http://{place}:{port}/" + (f"k/{secret}/" if secret else ""),
    )


def own_names() -> set[str]:
    """The names and addresses of this machine."""
    import psutil

    found = {socket.gethostname(), socket.getfqdn()}
    for addresses in psutil.net_if_addrs().values():
        found |= {
            one.address.partition("%")[0]
            for one in addresses
            if one.family in (socket.AF_INET, socket.AF_INET6)
        }
    return found


def open_browser(address: str) -> None:
    """Show the page, a moment later, where there is a browser."""
    import threading
    import webbrowser

    timer = threading.Timer(0.5, webbrowser.open, [address])
    timer.daemon = True
    timer.start()
