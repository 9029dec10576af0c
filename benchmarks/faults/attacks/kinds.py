"""The attacks of each kind; every function gives results as they come."""

import os
import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.attacks.attack import SMALL, Result, attacked
from benchmarks.faults.kills import final_adapter
from benchmarks.faults.runs import start
from fdfo.config.load import load_config
from fdfo.config.section import Section

HOSTILE = (
    "nan",
    "inf",
    "-1",
    "0",
    "1e308",
    str(2**64),
    "[]",
    "{}",
    "null",
    "true",
    '"\0"',
    '"${oc.env:HOME}"',
    "a" * 5000,
)
HOSTILE += ("[[[[1]]]]", "../../../../dev/zero", "\U0001f642", "9" * 5000, '"\\ud800"')
"""Values that are given to keys."""


def configurations(folder: Path, count: int, chance: random.Random) -> Iterator[Result]:
    """Hostile values of random keys: refused with a line, or planned."""
    keys = [*_keys(load_config("shapes-smoke"))]
    for number in range(count):
        key, value = chance.choice(keys), chance.choice(HOSTILE)
        arguments = ("train", *SMALL, f"{key}={value}", "--dry-run")
        yield attacked("configuration", f"{key}={value[:30]!r}", arguments, folder / f"{number}.log", codes=(0, 2))


def _keys(section: Section, above: str = "") -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        yield f"{above}{name}"
        if isinstance(value, Section):
            yield from _keys(value, f"{above}{name}.")


def kills(folder: Path, count: int, chance: random.Random) -> Iterator[Result]:
    """kill -9 at a random moment, then the same command: the weights are those of an undisturbed run, bit for bit."""
    longer = (*SMALL, "train.epochs=3")
    since = time.monotonic()
    yield attacked(
        "kill", "nothing, to compare with", ("train", *longer, "--run", folder / "whole"), folder / "whole.log"
    )
    length = time.monotonic() - since
    for number in range(count):
        run, log = folder / f"killed-{number}", folder / f"killed-{number}.log"
        moment = chance.uniform(0.2, 0.9) * length
        child = start(["train", *longer, "--run", str(run)], log)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        what = f"after {moment:.1f} of {length:.1f} s"
        equal = _equal(run, folder / "whole")
        yield attacked("kill", what, ("train", *longer, "--run", run), log, codes=(0,), check=equal)


def _equal(run: Path, whole: Path) -> Callable[[], str]:
    return lambda: "" if final_adapter(run) == final_adapter(whole) else "other weights than undisturbed"


def folders(folder: Path, count: int, chance: random.Random) -> Iterator[Result]:
    """A file of a finished run is cut, overwritten or emptied: going on names it, or does without it."""
    whole = folder / "whole"
    yield attacked("folder", "nothing, to damage then", ("train", *SMALL, "--run", whole), folder / "whole.log")
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.name != ".lock")
    for number, file in enumerate(chance.sample(files, min(count, len(files)))):
        run = folder / f"damaged-{number}"
        shutil.copytree(whole, run)
        content = (run / file).read_bytes()
        how, damaged = chance.choice(
            [
                ("cut", content[: len(content) // 2]),
                ("null", b"null"),
                ("emptied", b""),
                ("noise", chance.randbytes(64)),
            ]
        )
        (run / file).write_bytes(damaged)
        arguments = ("train", *SMALL, "train.epochs=2", "--run", run)
        yield attacked("folder", f"{file} {how}", arguments, run.with_suffix(".log"))


SCORES = {
    "leaves": "import sys; sys.exit()",
    "raises": "raise ValueError(object())",
    "interrupts": "raise KeyboardInterrupt",
    "too few": "return [1.0]",
    "nothing": "return None",
    "text": "return 'good'",
    "infinite": "return [float('inf')] * len(prompts)",
    "edits": "images.zero_(); prompts.clear(); return [0.0] * 4",
    "float64": "import torch; torch.set_default_dtype(torch.float64); return images.mean((1, 2, 3))",
    "no gradient": "import torch; torch.set_grad_enabled(False); return images.mean((1, 2, 3))",
    "elsewhere": "import os; os.chdir('/'); return images.mean((1, 2, 3))",
}
"""Bodies of a score; the last four do what has no effect on the run."""


def scores(folder: Path, count: int, chance: random.Random) -> Iterator[Result]:
    """Scores that leave, raise, edit what they get, or change the process: named, or without effect."""
    for name, body in [*SCORES.items()][:count]:
        file = folder / f"{name.replace(' ', '_')}.py"
        file.write_text(f"def score(images, prompts, metadata):\n    {body}\n")
        harmless = name in ("edits", "float64", "no gradient", "elsewhere")
        arguments = ("train", *SMALL, f"reward=[{file}:score]", "--run", folder / file.stem)
        codes = (0,) if harmless else (1,)
        said = "" if harmless else "score"
        yield attacked("score", name, arguments, file.with_suffix(".log"), codes=codes, says=said)


REPLIES = {
    "no answer": b"",
    "no HTTP": b"hello\r\n\r\n",
    "drips 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "null": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull",
    "endless": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"0" * 1000,
}
"""What a server of scores sends, again and again."""


def servers(folder: Path, count: int, chance: random.Random) -> Iterator[Result]:
    """Servers that say nothing, anything, or never come to an end: given up in time, and named."""
    for name, reply in [*REPLIES.items()][:count]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            threading.Thread(target=_answer, args=(server, reply, "drips" in name), daemon=True).start()
            run = folder / name.replace(" ", "_")
            entry = f"reward=[{{name: remote, url: 'http://127.0.0.1:{port}', timeout_s: 1, patience_s: 1}}]"
            yield attacked(
                "server",
                name,
                ("train", *SMALL, entry, "--run", run),
                run.with_suffix(".log"),
                codes=(1,),
                says="127.0.0.1",
            )


def _answer(server: socket.socket, reply: bytes, again: bool) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # closed
            return
        threading.Thread(target=_send, args=(connection, reply, again), daemon=True).start()


def _send(connection: socket.socket, reply: bytes, again: bool) -> None:
    try:
        connection.recv(65536)
        connection.sendall(reply)
        while again:
            time.sleep(0.1)
            connection.sendall(reply)
        time.sleep(0.1 if reply else 30)
    except OSError:  # it hung up
        pass
    finally:
        connection.close()


KINDS = {"configuration": configurations, "kill": kills, "folder": folders, "score": scores, "server": servers}
QUICK = {"configuration": 24, "kill": 2, "folder": 8, "score": 99, "server": 99}
WHOLE = {"configuration": 400, "kill": 30, "folder": 99, "score": 99, "server": 99}
