"""How many questions a person with a hidden taste is asked, with and without a head that decides for them.

A scripted person likes warm colours and large shapes, and is wrong on a tenth of the pairs. Two ways of training the
embedded model, of 5 seeds each, with the same number of pairs an epoch: people choose from all of them, or from 16 and
a head on the features of the embedded CLIP decides the others. The hidden score is measured on held-out prompts.

    python -m benchmarks.evidence.people              everything, into docs/results/people.md; repeat it to go on
    python -m benchmarks.evidence.people --page-only  the page from the runs that are there
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import mean
from threading import Event, Thread

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fdfo.config.load import load_config
from fdfo.evaluation.runs import read_evaluations
from fdfo.evaluation.statistics import bootstrap
from fdfo.files import write_atomically
from fdfo.own import numbered, read_json
from fdfo.rewards import human
from fdfo.studio.board import Board
from fdfo.studio.choices import Choice, Journal, now
from fdfo.studio.pairs import Pair, pictures_of, rounds
from fdfo.training.loop import train

SEEDS, PAIRS, ASKED, EPOCHS = range(5), 64, 16, 14
MISTAKES = 0.1
ARMS = {"all": {}, "assisted": {"assist": "learned", "features": "shapes-contrastive", "ask": ASKED}}
TITLES = {"all": f"people choose from all {PAIRS}", "assisted": f"people choose from {ASKED}, a head from the others"}
HIDDEN = "hidden"
RUNS, PAGE = Path("runs/people"), Path("docs/results/people.md")


def hidden(images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, object]]) -> Tensor:
    """The taste [B] of images [B, 3, H, W]: red less blue, and the share of the picture that is no background."""
    warmth = (images[:, 0] - images[:, 2]).mean((1, 2))
    background = images.flatten(2).median(2).values[:, :, None, None]
    covered = ((images - background).abs().amax(1) > 0.2).float().mean((1, 2))
    return warmth + covered / 2


class Person(Thread):
    """Chooses from what a run asks, through its folder, as fast as it is asked."""

    def __init__(self, run: Path, seed: int):
        super().__init__(daemon=True)
        self._run, self._seed, self._end = run, seed, Event()

    def run(self) -> None:
        journal = Journal(self._run)
        while not self._end.wait(0.05):
            board = Board(list(rounds(self._run).values()), journal.choices(), 1, 0.0)
            for pair in board.pairs:
                if not board.is_decided(pair):
                    with journal.held():
                        journal.add(self._choice(pair))

    def end(self) -> None:
        """After what is under way."""
        self._end.set()
        self.join()

    def _choice(self, pair: Pair) -> Choice:
        files = [pictures_of(self._run) / f"{name}.png" for name in (pair.first, pair.second)]
        levels = np.stack([np.array(Image.open(file).convert("RGB")) for file in files])
        scores = hidden(torch.from_numpy(levels).permute(0, 3, 1, 2) / 255, [], [])
        is_wrong = random.Random(f"{self._seed} {pair.key}").random() < MISTAKES
        chosen = "first" if bool(scores[0] > scores[1]) != is_wrong else "second"
        known = {"pair": pair.key, "prompt": pair.prompt, "first": pair.first, "second": pair.second}
        return Choice(id=pair.key, chosen=chosen, left=pair.left, who="script", when=now(), seconds=0.0, **known)


@contextmanager
def choosing(run: Path, seed: int) -> Iterator[None]:
    """Somebody chooses within."""
    person = Person(run, seed)
    person.start()
    try:
        yield
    finally:
        person.end()


def one_run(arm: str, seed: int) -> Path:
    """Train as far as it is not done."""
    folder = RUNS / f"{arm}-{seed}"
    reward = [{"name": "human", "port": 0, "repeat": 0.0, **ARMS[arm]}]
    score = {"name": f"{Path(__file__).relative_to(Path.cwd())}:hidden", "label": HIDDEN}
    settings = {"prompts.pairs_per_epoch": PAIRS, "train.epochs": EPOCHS, "train.seed": seed, "method.steps": 10}
    settings |= {"eval.every": 2, "eval.prompts": 96, "eval.images_per_prompt": 1, "eval.steps": 10}
    settings |= {"reward": json.dumps(reward), "eval.rewards": json.dumps([score])}
    config = load_config("shapes", [f"{key}={value}" for key, value in settings.items()])
    human.LAST_UNDO_S = human.POLL_S = 0.05
    with choosing(folder, seed):
        train(config, folder)
    return folder


# ---- the page ----


@dataclass(frozen=True)
class Course:
    """Of one run."""

    questions: list[int]
    """Asked until each evaluation."""
    scores: list[float]
    """Hidden score of each evaluation."""

    def until(self, level: float) -> float | None:
        """Questions until the score is reached, linear between evaluations; None where it never is."""
        points = list(zip(self.questions, self.scores, strict=True))
        for (before, low), (after, high) in pairwise(points):
            if low < level <= high:
                return before + (after - before) * (level - low) / (high - low)
        return None


def course_of(folder: Path) -> Course:
    """Read a run."""
    plans = [read_json(path) for path in numbered(folder / "choices" / "assisted", "plan", ".json").values()]
    each = [len(plan["asked"]) for plan in plans] or [PAIRS] * EPOCHS
    total = [0, *accumulate(each)]
    found = read_evaluations(folder)
    return Course([total[one.epoch] for one in found], [one.interval(HIDDEN).mean for one in found])


def page(courses: Mapping[str, Sequence[Course]]) -> str:
    """What is told of all runs."""
    begin = mean(course.scores[0] for arm in courses.values() for course in arm)
    end = mean(course.scores[-1] for course in courses["all"])
    levels = [begin + share * (end - begin) for share in (0.5, 0.75, 0.9)]
    lines = [
        "# A hidden taste, with and without a head that decides",
        "",
        f"A scripted person likes warm colours and large shapes, and is wrong on {MISTAKES:.0%} of the pairs. The",
        f"embedded model is trained for {EPOCHS} epochs of {PAIRS} pairs, {len(courses['all'])} seeds each way; the",
        "hidden score is measured on 96 held-out prompts. `python -m benchmarks.evidence.people` makes this page.",
        "",
        "| | questions | hidden score at the end | gain for 100 questions |",
        "| --- | --- | --- | --- |",
    ]
    for arm, found in courses.items():
        last = bootstrap([course.scores[-1] for course in found])
        asked = mean(course.questions[-1] for course in found)
        rate = bootstrap([100 * (one.scores[-1] - one.scores[0]) / one.questions[-1] for one in found])
        lines.append(f"| {TITLES[arm]} | {asked:.0f} | {last.told('.3f')} | {rate.told('.4f')} |")
    lines += [
        "",
        f"Questions until a share of the gain without help, {begin:.3f} to {end:.3f}, is reached; brackets are 95 %",
        "intervals over seeds (bootstrap), seeds that do not reach it are counted apart:",
        "",
        "| | 50 % | 75 % | 90 % |",
        "| --- | --- | --- | --- |",
    ]
    for arm, found in courses.items():
        cells = []
        for level in levels:
            reached = [count for course in found if (count := course.until(level)) is not None]
            missing = len(found) - len(reached)
            text = bootstrap(reached).told(".0f") if reached else "never"
            cells.append(f"{text}{f' ({missing} of {len(found)} never)' if reached and missing else ''}")
        lines.append(f"| {TITLES[arm]} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Train what is not trained yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page-only", action="store_true")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    if not options.page_only:
        for seed in range(options.seeds):
            for arm in ARMS:
                one_run(arm, seed)
                print(f"{arm} {seed}: {time.process_time() - begun:.0f} s so far", flush=True)
    courses = {arm: [course_of(RUNS / f"{arm}-{seed}") for seed in range(options.seeds)] for arm in ARMS}
    write_atomically(PAGE, page(courses))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
