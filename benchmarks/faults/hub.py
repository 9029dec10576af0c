"""A hub that stops in the middle of a file: a server on this machine, which has the embedded pipeline."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import yaml

from benchmarks.faults.runs import SETTINGS, Ended
from fdfo.config.load import load_config, to_yaml

ROOT = Path(str(files("fdfo"))) / "shapes" / "assets" / "pipeline"
COMMIT = "0" * 40
STALLS = "transformer/diffusion_pytorch_model.safetensors"
FIRST_BYTES = 100_000
PATIENCE_S = 2
"""HF_HUB_DOWNLOAD_TIMEOUT; huggingface_hub then tries a few times to go on."""


def _files() -> list[Path]:
    return [file for file in sorted(ROOT.rglob("*")) if file.is_file()]


def _siblings() -> list[dict[str, str]]:
    return [{"rfilename": str(file.relative_to(ROOT))} for file in _files()]


def _tree() -> list[dict[str, object]]:
    return [
        {"type": "file", "path": str(file.relative_to(ROOT)), "size": file.stat().st_size, "oid": COMMIT}
        for file in _files()
    ]


class Hub(BaseHTTPRequestHandler):
    """The few answers of a hub that loading a pipeline needs."""

    ends = threading.Event()

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/"):
            listing = _tree() if "/tree/" in path else {"id": "local/shapes", "sha": COMMIT, "siblings": _siblings()}
            self._send(json.dumps(listing).encode(), "application/json", with_body)
            return
        name = path.partition("/resolve/")[2].partition("/")[2]
        if not (ROOT / name).is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send((ROOT / name).read_bytes(), "application/octet-stream", with_body, stalls=name == STALLS)

    def _send(self, content: bytes, kind: str, with_body: bool, stalls: bool = False) -> None:
        """All of it, or what a resumed download still lacks; a file that stalls ends, as if the line were dead."""
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-") or 0)
        self.send_response(206 if first else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if not with_body:
            return
        if not stalls or self.ends.is_set():
            self.wfile.write(content[first:])
            return
        self.wfile.write(content[first:FIRST_BYTES])
        self.wfile.flush()
        self.ends.wait()

    def log_message(self, format: str, *values: object) -> None:
        """Nothing."""


def lost_hub(folder: Path) -> Ended:
    """A run whose model comes from a hub that stalls; then again from one that does not. How the first one ended.

    In Pythons of their own, which read the hub's address at their start.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        first = _run(folder, server.server_port)
        Hub.ends.set()
        second = _run(folder, server.server_port)
    finally:
        Hub.ends.set()
        server.shutdown()
    if second.code:
        raise RuntimeError(second.output)
    return first


def _run(folder: Path, port: int) -> Ended:
    hub = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_DOWNLOAD_TIMEOUT": str(PATIENCE_S)}
    cache = {"HF_HOME": str(folder.with_suffix(".cache")), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    arguments = ["train", str(_recipe(folder.with_suffix(".yaml"))), "--run-dir", str(folder)]
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", "fdfo", *arguments],
        env={**os.environ, **hub, **cache, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Ended(process.returncode, process.stdout, time.monotonic() - start)


def _recipe(file: Path) -> Path:
    """The runs' recipe with the model of the hub, written to this file."""
    tree = yaml.safe_load(to_yaml(load_config(SETTINGS[0], SETTINGS[1:])))
    tree["policy"] |= {"name": "local/shapes", "text_tokens": 1}
    file.write_text(yaml.safe_dump(tree))
    return file
