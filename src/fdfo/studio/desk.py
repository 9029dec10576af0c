"""One run folder, as the pages of people who choose need it."""

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fdfo.config.run_folder import METRICS
from fdfo.errors import FdfoError
from fdfo.evaluation.runs import REPORT
from fdfo.studio.board import Board, Item
from fdfo.studio.choices import Choice, Journal, now
from fdfo.studio.pairs import Pair, pictures_of, rounds
from fdfo.studio.people import People
from fdfo.studio.progress import Progress, progress_of, stamp
from fdfo.studio.statistics import between_people, with_oneself

LOADED_AHEAD = 3
"""Pairs that a page holds: the one that is shown, and those after it."""
HELD_S = 60.0
"""So long a pair that was given to somebody is not given to others, unless they show that they are still there."""
PACE_OF = 20
"""Choices whose median time is the pace."""
MOST_A_SECOND, BURST = 10, 50
"""Choices of one person: no hand is faster."""


class Declined(FdfoError):
    """A choice that does not count, with the status code of its answer."""

    def __init__(self, status: int, reason: str):
        self.status = status
        super().__init__(reason)


class Answer(BaseModel):
    """What a page sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{8,64}$")]
    """Made by the page; the same when it sends the answer again."""
    run: str
    pair: str
    chosen: Literal["left", "right", "tie", "skip"]
    repeat: bool
    seconds: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Wish(BaseModel):
    """Which pairs a page is to show, as it sends it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str
    only_undecided: bool


@dataclass(frozen=True)
class Settings:
    """Of a run's questions; see fdfo.rewards.human."""

    votes: int = 1
    repeat: float = 0.1
    has_others: bool = False
    """Whether there are other scores than people's."""


class Desk:
    """Gives out pairs and takes choices."""

    def __init__(self, run: Path, people: People, settings: Settings):
        self.run, self.people, self._settings = run, people, settings
        self.journal = Journal(run)
        self._held: dict[tuple[str, str], float] = {}
        """Until when a pair is held for a person."""
        self._latest: dict[str, deque[float]] = {}
        """When each person chose last."""
        self._looking = Lock()

    def version(self) -> str:
        """Another text after every change that a page should show."""
        paths = [
            self.journal.path,
            self.run / METRICS,
            self.run / REPORT,
            *sorted((self.run / "choices" / "asked").glob("*.json")),
        ]
        moment = time.monotonic()
        held = sorted(key for key, until in list(self._held.items()) if until > moment)  # pages come and go meanwhile
        return repr(([stamp(path) for path in paths], held))

    def board(self) -> Board:
        """As it is now."""
        asked, written, settings = list(rounds(self.run).values()), self.journal.read(), self._settings
        people = self.people.names
        return Board(asked, written.choices, settings.votes, settings.repeat, people, written.selective, written.left)

    # ---- what people do ----

    def answer(self, who: str, answer: Answer) -> str:
        """Write a choice, once however often it is sent; the pair. Raises Declined, or OSError with nothing written."""
        self._check_run(answer.run)
        with self.journal.held():
            board = self.board()
            if any(choice.id == answer.id and choice.who == who for choice in board.choices):
                return answer.pair
            self._check_rate(who)
            pair = next((pair for pair in board.pairs if pair.key == answer.pair), None)
            if pair is None:
                raise Declined(409, "this pair is not asked any more: training goes on with the choices made before")
            if not board.may_choose(pair, who, answer.repeat):
                raise Declined(409, "this pair is decided already")
            if answer.chosen != "skip" and self.missing(pair):
                raise Declined(409, "a picture of this pair is missing, so it can only be skipped")
            self.journal.add(_choice(pair, who, answer))
            self._latest[who].append(time.monotonic())
        return answer.pair

    def undo(self, who: str) -> str:
        """Take the latest choice of this round back; the pair. Raises Declined, or OSError with nothing written."""
        with self.journal.held():
            mine = self.board().may_undo(who)
            if not mine:
                raise Declined(409, "nothing to undo: training goes on with the choices made before")
            self.journal.take_back(mine[-1])
        return mine[-1].pair

    def show(self, who: str, wish: Wish) -> None:
        """Write which pairs a person wants to see. Raises Declined, or OSError with nothing written."""
        self._check_run(wish.run)
        if not self._settings.has_others:
            raise Declined(409, "there are no other scores here that could decide a pair")
        with self.journal.held():
            if wish.only_undecided == (who in self.journal.read().selective):
                return
            self._check_rate(who)
            self.journal.switch(who, wish.only_undecided)
            self._latest[who].append(time.monotonic())

    def _check_run(self, run: str) -> None:
        if run != self.people.run:
            raise Declined(409, "this choice belongs to another run; reload the page")

    def missing(self, pair: Pair) -> bool:
        """Whether a picture is not there."""
        return not all((pictures_of(self.run) / f"{name}.png").is_file() for name in (pair.first, pair.second))

    def _check_rate(self, who: str) -> None:
        latest = self._latest.setdefault(who, deque(maxlen=BURST))
        if len(latest) == BURST and time.monotonic() - latest[0] < BURST / MOST_A_SECOND:
            raise Declined(429, f"more than {MOST_A_SECOND} choices a second; wait a moment")

    # ---- what pages show ----

    def view(self, who: str) -> dict[str, Any]:
        """All that the page of a person shows; of two, the one that was told later has seen more."""
        with self._looking:
            return self._seen_by(who) | {"told_at": time.time_ns() // 1000}  # a number that JavaScript holds exactly

    def _seen_by(self, who: str) -> dict[str, Any]:
        board, progress = self.board(), progress_of(self.run)
        items = board.next_for(who, self._hold(board, who), LOADED_AHEAD)
        for item in items:
            self._held[item.pair.key, who] = time.monotonic() + HELD_S
        mine = [choice for choice in board.choices if choice.who == who]
        paces = [choice.seconds for choice in mine[-PACE_OF:]]
        pace = median(paces) if paces else None
        waits = who in board.selective and board.undecided is None  # for the other scores
        pairs = board.pairs if waits else [pair for pair in board.pairs if board.is_shown(pair, who)]
        total = board.total - len(board.pairs) + len(pairs)
        decided = 0 if board.all_skipped else sum(board.is_decided(pair) for pair in pairs)
        sharers = max(1, len(self.people.tokens))
        return {
            "run": self.people.run,
            "who": who,
            "people": sharers,
            "phase": "weighing" if waits and board.pairs else self._phase(board, items, progress),
            "epoch": progress.epoch + 1,
            "epochs": progress.epochs,
            "items": [self._shown(item) for item in items],
            "decided": decided,
            "total": total,
            "has_others": self._settings.has_others,
            "only_undecided": who in board.selective,
            "undecided": None if board.undecided is None else [len(board.undecided), len(board.pairs)],
            "all_skipped": board.all_skipped,
            "pace_s": pace,
            "left_s": None if pace is None else pace * (total - decided) * self._settings.votes / sharers,
            "training_s": progress.training_s,
            "can_undo": bool(board.may_undo(who)),
            "self": with_oneself(mine),
            "others": between_people(board.choices),
        }

    def _phase(self, board: Board, items: list[Item], progress: Progress) -> str:
        if items:
            return "choose"
        if board.pairs and not board.is_over:
            return "others" if board.is_whole else "drawing"
        if board.pairs:
            return "done"
        if progress.is_finished:
            return "finished" if self._is_reported() else "judging"
        return "training" if board.choices else "starting"

    def _is_reported(self) -> bool:
        """Whether the report has been written since the last event."""
        report, events = stamp(self.run / REPORT), stamp(self.run / METRICS)
        return report is not None and (events is None or report[0] >= events[0])

    def leave(self, who: str) -> None:
        """A person's page was closed: what it held is for others."""
        for key in [key for key in self._held if key[1] == who]:
            del self._held[key]

    def _hold(self, board: Board, who: str) -> dict[str, int]:
        """By pair, how many others are looking at it, and have not chosen."""
        moment = time.monotonic()
        self._held = {key: until for key, until in self._held.items() if until > moment}
        votes = {pair.key: board.votes_of(pair) for pair in board.pairs}
        held: dict[str, int] = {}
        for pair, person in self._held:
            if person != who and person not in votes.get(pair, {}):
                held[pair] = held.get(pair, 0) + 1
        return held

    def _shown(self, item: Item) -> dict[str, Any]:
        pair = item.pair
        left, right = (pair.first, pair.second) if item.left == "first" else (pair.second, pair.first)
        shown = {"pair": pair.key, "repeat": item.repeat, "prompt": pair.prompt, "missing": self.missing(pair)}
        return shown | {"left": f"/choose/pictures/{left}.png", "right": f"/choose/pictures/{right}.png"}


def _choice(pair: Pair, who: str, answer: Answer) -> Choice:
    left = pair.left if not answer.repeat else "second" if pair.left == "first" else "first"
    right = "second" if left == "first" else "first"
    sides = {"left": left, "right": right, "tie": "tie", "skip": "skip"}
    return Choice(
        id=answer.id,
        pair=pair.key,
        prompt=pair.prompt,
        first=pair.first,
        second=pair.second,
        left=left,
        chosen=sides[answer.chosen],  # type: ignore[arg-type]
        who=who,
        when=now(),
        seconds=round(answer.seconds, 2),
        repeat=answer.repeat,
    )
