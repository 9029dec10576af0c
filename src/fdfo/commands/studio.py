"""`fdfo studio`: a page in the browser that watches runs."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from fdfo.commands.terminal import say
from fdfo.errors import ConfigError
from fdfo.studio.app import MOST_BYTES, watch_app
from fdfo.studio.watch.actions import Actions
from fdfo.studio.watch.library import Library
from fdfo.web.listening import listen
from fdfo.web.server import Server
from fdfo.words import plural

PORTS = 20
"""Tried from the given one, where it is in use."""


def run_studio(roots: Sequence[Path], port: int) -> None:
    """Serve until interrupted, to this machine alone. Raises ConfigError for a folder that is none, or no free port."""
    if wrong := [f"{root}: no such folder; give one below which there are runs" for root in roots if not root.is_dir()]:
        raise ConfigError("the command line", wrong)
    try:
        listener = listen("127.0.0.1", port, tries=PORTS if port else 1)
    except OSError as error:
        raise ConfigError("the command line", [f"--port {port}: {error.strerror or error}; give another"]) from error
    library = Library(roots)
    with listener, TemporaryDirectory(prefix="fdfo-studio-") as folder:
        actions = Actions(Path(folder))
        server = Server(watch_app(library, actions), listener, most_bytes=MOST_BYTES)
        if port not in (0, server.port):
            say(f"port {port} is in use; taking {server.port}")
        count = len(library.runs())
        them = "it" if count == 1 else "them"
        say(f"{plural(count, 'run')} below {', '.join(map(str, roots))}; watch {them} at {server.url}/", flush=True)
        try:
            server.serve()
        except KeyboardInterrupt:
            say("stopped")
        finally:
            actions.end()
