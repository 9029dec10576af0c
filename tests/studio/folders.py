"""Run folders with pairs to choose from, without a run."""

from pathlib import Path

import numpy as np

from fdfo.config.load import load_config, to_yaml
from fdfo.rewards.png import png_file
from fdfo.studio.app import MOST_BYTES, studio_app
from fdfo.studio.desk import Answer, Desk, Settings
from fdfo.studio.pairs import Pair, Round, keep_picture, post
from fdfo.studio.people import people_of
from fdfo.web.listening import listen
from fdfo.web.server import Server


def run_folder(path: Path) -> Path:
    """As one of a run that waits in its first epoch of three."""
    path.mkdir(parents=True, exist_ok=True)
    config = load_config("shapes-smoke", ["train.epochs=3", "reward=[human]"])
    (path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    (path / "metrics.jsonl").touch()
    return path


def picture(run: Path, number: int, side: int = 32) -> str:
    """The name of a picture that differs from those of other numbers."""
    pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    pixels = pixels.repeat(side // 4, 0).repeat(side // 4, 1)
    return keep_picture(run, pixels.shape, pixels.tobytes(), lambda: png_file(pixels))


def pairs_in(run: Path, count: int, prompt: str = "prompt {}", side: int = 32, first: int = 0) -> list[Pair]:
    """Pairs of a run."""
    found = []
    for number in range(first, first + count):
        names = sorted(picture(run, 2 * number + i, side) for i in range(2))
        found.append(Pair(prompt=prompt.format(number), first=names[0], second=names[1]))
    return found


def asked(run: Path, count: int, *, total: int | None = None, number: int = 0, rank: int = 0, **kind) -> list[Pair]:
    """Pairs that a process of the run waits for; undecided: how many of the last ones other scores cannot decide."""
    undecided = kind.pop("undecided", None)
    pairs = pairs_in(run, count, **kind)
    keys = None if undecided is None else tuple(pair.key for pair in pairs[count - undecided :])
    post(run, rank, Round(number=number, total=total or count, pairs=tuple(pairs), undecided=keys))
    return pairs


def desk_of(run: Path, names=(), *, is_local=True, votes=1, repeat=0.0, has_others=False) -> Desk:
    """What serves a folder."""
    return Desk(run, people_of(run, names, is_local=is_local), Settings(votes, repeat, has_others))


def serving(desk: Desk, port: int = 0) -> Server:
    """The application, at a free port where none is given."""
    return Server(studio_app(desk), listen("127.0.0.1", port), most_bytes=MOST_BYTES)


def answer(desk: Desk, pair: Pair, chosen="left", *, id="a" * 8, repeat=False, seconds=1.5) -> Answer:
    """As a page sends it."""
    return Answer(id=id, run=desk.people.run, pair=pair.key, chosen=chosen, repeat=repeat, seconds=seconds)


def choose_all(desk: Desk, who="me", side=lambda item: "left") -> list[dict]:
    """Choose until nothing is left for a person; what was shown."""
    shown = []
    while items := desk.view(who)["items"]:
        item = items[0]
        shown.append(item)
        body = {"id": f"{who}-{len(shown):08d}", "run": desk.people.run, "pair": item["pair"]}
        desk.answer(who, Answer(**body, chosen=side(item), repeat=item["repeat"], seconds=2.0))
    return shown
