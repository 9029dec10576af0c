"""The picture of the choosing page: `python -m benchmarks.evidence.choosing`, from the repository's root.

Pairs of the embedded model on held-out prompts, of which a score cannot decide some, five of them chosen from, in the
browser that the tests use. Writes docs/images/choosing.png.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

import fdfo
from fdfo.config.load import load_config, to_yaml
from fdfo.files import write_atomically
from fdfo.prompts import held_out_list
from fdfo.rewards.png import levels, png_file
from fdfo.studio.app import MOST_BYTES, studio_app
from fdfo.studio.desk import Answer, Desk, Settings
from fdfo.studio.pairs import Pair, Round, keep_picture, post
from fdfo.studio.people import people_of
from fdfo.web.listening import listen
from fdfo.web.server import Server
from tests.browser import chromium, opened, until

PAIRS, CHOSEN, UNDECIDED, SECONDS = 12, 5, 4, 2.7
PICTURE = Path("docs/images/choosing.png")


def main() -> None:
    """Draw the pairs, show them, and take the picture."""
    config = load_config("shapes", [f"prompts.pairs_per_epoch={PAIRS}", "train.epochs=3", "reward=[human]"])
    policy = fdfo.load_policy("shapes")
    with TemporaryDirectory() as folder:
        run = Path(folder)
        write_atomically(run / "config.yaml", to_yaml(config))
        (run / "metrics.jsonl").touch()
        texts = [prompt.text for prompt in held_out_list(config.prompts, PAIRS)][:PAIRS]
        images = policy.sample(texts, images_per_prompt=2).images  # those of a prompt stand side by side
        pairs = [_pair(run, text, images[2 * row : 2 * row + 2]) for row, text in enumerate(texts)]
        undecided = tuple(pair.key for pair in pairs[-UNDECIDED:])
        post(run, 0, Round(number=0, total=PAIRS, pairs=tuple(pairs), undecided=undecided))
        desk = Desk(run, people_of(run, (), is_local=True), Settings(repeat=0.0, has_others=True))
        for number, pair in enumerate(pairs[:CHOSEN]):
            told = {"id": f"example-{number}", "run": desk.people.run, "pair": pair.key, "seconds": SECONDS}
            desk.answer("me", Answer.model_validate({**told, "chosen": "left", "repeat": False}))
        _take(desk)
    print(f"wrote {PICTURE}")


def _pair(run: Path, prompt: str, images: Tensor) -> Pair:
    """Two images [2, 3, H, W] of a prompt, kept."""
    names = []
    for picture in levels(images):
        names.append(keep_picture(run, picture.shape, picture.tobytes(), lambda picture=picture: png_file(picture)))
    return Pair(prompt=prompt, first=min(names), second=max(names))


def _take(desk: Desk) -> None:
    server = Server(studio_app(desk), listen("127.0.0.1", 0), most_bytes=MOST_BYTES)
    with server, chromium() as browser, opened(browser, server.url) as page:
        until(page, "[...document.querySelectorAll('.side img')].every((image) => image.naturalWidth)")
        page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
