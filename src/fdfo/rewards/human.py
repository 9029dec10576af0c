"""People as the score: they choose between the two pictures of a pair, on a page of fdfo.studio, served by this run.

A choice is the difference of the two scores: 1, 0 or -1; NaN where the pair was skipped. Of several people it is what
more of them chose than anything else. Everything goes through the run folder: this score posts the pairs there, as they
are drawn, and goes on when all are decided. What was chosen before an interruption is found there again, by the pixels
of the pictures and the prompt, and is not asked twice.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fdfo.config.bounds import Count, Port, Processes, Share
from fdfo.errors import RewardError, install_advice
from fdfo.rewards.assist import Assistant, Plan, record_of
from fdfo.rewards.endpoint import is_asked_to_stop
from fdfo.rewards.png import levels, png_file
from fdfo.studio.board import Board
from fdfo.studio.choices import Journal
from fdfo.studio.pairs import Pair, Round, forget_rounds, keep_picture, post, rounds
from fdfo.studio.people import ALONE
from fdfo.words import plural

if TYPE_CHECKING:
    from fdfo.web.server import Server

POLL_S = 0.2
"""How often the run folder is looked at."""
LAST_UNDO_S = 2.0
"""So long the last choice of an epoch can be taken back."""
PORTS = 20
"""Tried from the given one, where it is in use."""

_PACKAGES = ("starlette", "uvicorn")


class Human:
    """Asks people."""

    differentiable = False
    pairwise = True
    remote = True
    antisymmetric = True
    asks_people = True
    """All pairs of an epoch come at once, and by `expect` as they are drawn; `attend` comes first."""

    def __init__(
        self,
        *,
        votes: Processes = 1,
        repeat: Share = 0.1,
        people: Sequence[str] = (),
        host: str = "127.0.0.1",
        port: Port = 8765,
        assist: str | None = None,
        ask: Count = 32,
        check: Share = 0.25,
        features: str = "clip",
        model: str | None = None,
    ):
        """votes people choose from each pair; a share `repeat` of the pairs comes again, to measure their agreement
        with themselves. `people` are their names, each of whom gets a link. host other than this machine's own
        addresses lets others in, by their links alone.

        assist=learned: a head on `features` (of `model`, a folder or hub id) decides pairs; people get `ask` of an
        epoch, a share `check` of these at random (assist.py). Raises RewardError for unusable options.
        """
        self._votes, self._repeat, self._people, self._host, self._port = votes, repeat, tuple(people), host, port
        if problems := self._problems(assist):
            raise RewardError("reward 'human': " + "; ".join(problems))
        self._assistant = None if assist is None else Assistant(features, model, ask, check)
        self._run: Path | None = None
        self._rank, self._size = 0, 1
        self._say: Callable[[str], None] = print
        self._server: Server | None = None
        self._number = 0
        self._drawn: dict[str, Pair] = {}
        self._undecided: Tensor | None = None

    def _problems(self, assist: str | None) -> list[str]:
        names, found = self._people, []
        if assist not in (None, "learned"):
            found.append(f"assist={assist!r}: learned, or remove it")
        if assist and find_spec("sklearn") is None:
            found.append(f"assist needs scikit-learn, not installed here; {install_advice('scikit-learn')}")
        if isinstance(self._votes, int) and self._votes > max(1, len(names)):
            found.append(f"votes={self._votes} needs as many people: people=[anna, ben]")
        if not all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= 40 for name in names):
            found.append("people must be a list of names, up to 40 characters each")
        elif len(set(names)) < len(names):
            found.append("people must have different names")
        if missing := [name for name in _PACKAGES if find_spec(name) is None]:
            found.append(f"needs {', '.join(missing)}, not installed here; {install_advice(*missing)}")
        return found

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Read the network of the features that help."""
        if self._assistant is not None:
            self._assistant.load(device, dtype)

    def attend(self, run: Path, rank: int, size: int, say: Callable[[str], None], *, has_others: bool = False) -> None:
        """Ask in a run folder, as one of `size` processes; the first one serves the page and tells where. With other
        scores, people may choose from those pairs alone that these cannot decide: see `weigh`.

        Raises RewardError where that cannot be.
        """
        self._run, self._rank, self._size, self._say = run, rank, size, say
        if rank:
            return
        try:
            forget_rounds(run)
            self._serve(run, has_others)
        except OSError as error:
            raise RewardError(
                f"reward 'human' cannot serve its page at {self._host}:{self._port}, or write to {run}: "
                f"{error.strerror or error}; give another host or port"
            ) from error

    def _serve(self, run: Path, has_others: bool) -> None:
        from fdfo.studio.app import MOST_BYTES, studio_app
        from fdfo.studio.desk import Desk, Settings
        from fdfo.studio.people import people_of
        from fdfo.web.listening import is_local, listen
        from fdfo.web.server import Server

        listener = listen(self._host, self._port, tries=PORTS if self._port else 1)
        people = people_of(run, self._people, is_local=is_local(listener))
        app = studio_app(Desk(run, people, Settings(self._votes, self._repeat, has_others)))
        self._server = Server(app, listener, most_bytes=MOST_BYTES).__enter__()
        if self._port not in (0, self._server.port):
            self._say(f"port {self._port} is in use; people choose at {self._server.port}")
        for name, link in people.links(self._server.url).items():
            self._say(f"{name} chooses at {link}" if self._people else f"choose pictures at {link}")

    def leave(self) -> None:
        """The run is over: the page too."""
        if self._server is not None:
            self._server.stop()

    # ---- asking ----

    def expect(self, first: Tensor, second: Tensor, prompts: Sequence[str], total: int) -> None:
        """Ask for pairs of images [Q, 3, H, W] that are drawn already, of `total` in this epoch; answers come later."""
        if self._assistant is not None:
            return  # which pairs are asked is known when all are there
        for pair, _ in self._pairs(first, second, prompts):
            self._drawn[pair.key] = pair
        self._post(Round(number=self._number, total=total, pairs=tuple(self._drawn.values())))

    def weigh(self, undecided: Tensor | None) -> None:
        """Tell which of the pairs that are judged next the other scores cannot decide, [Q] bool; None: no others."""
        self._undecided = undecided

    def __call__(
        self, first: Tensor, second: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> Tensor:
        """Preferences [Q] float64 on the CPU for the first of images [Q, 3, H, W]: 1, 0, -1, or NaN where skipped.

        Waits for people. Raises RewardError when it is asked to stop meanwhile, or the folder cannot be written.
        """
        pairs = self._pairs(first, second, prompts)
        differing = {pair.key: pair for pair, sign in pairs if sign}
        plan = self._plan(pairs, first, second)
        asked = {key: pair for key, pair in differing.items() if plan is None or key in plan.asked}
        undecided = None
        if self._undecided is not None:
            marked = zip(pairs, self._undecided.tolist(), strict=True)
            undecided = tuple(dict.fromkeys(pair.key for (pair, _), is_open in marked if is_open and pair.key in asked))
        mine = Round(number=self._number, total=len(asked), pairs=tuple(asked.values()), undecided=undecided)
        self._post(mine)
        try:
            board = self._decided(mine)
        except OSError as error:
            raise self._unwritable(error) from error
        self._number, self._drawn = self._number + 1, {}
        self._tell(board, len(differing) - len(asked))

        def preference(pair: Pair) -> float:
            return plan.preference(pair.key) if plan is not None and pair.key not in asked else board.outcome(pair)

        return torch.tensor([sign * preference(pair) if sign else 0.0 for pair, sign in pairs], dtype=torch.float64)

    def _plan(self, pairs: Sequence[tuple[Pair, int]], first: Tensor, second: Tensor) -> Plan | None:
        """Which pairs of images [Q, 3, H, W] people are asked for; None: all."""
        rows = [row for row, (_, sign) in enumerate(pairs) if sign]
        if self._assistant is None or not rows:
            return None
        assert self._run is not None
        turned = torch.tensor([pairs[row][1] < 0 for row in rows])[:, None, None, None]
        one, other = first[rows], second[rows]
        known = [pairs[row][0] for row in rows]
        try:
            return self._assistant.plan(
                self._run, self._size, known, other.where(turned, one), one.where(turned, other)
            )
        except OSError as error:
            raise self._unwritable(error) from error

    @property
    def warning(self) -> str | None:
        """What is wrong with the help that people have."""
        return record_of(self._run).warning if self._assistant is not None and self._run is not None else None

    def _pairs(self, first: Tensor, second: Tensor, prompts: Sequence[str]) -> list[tuple[Pair, int]]:
        """Each pair as it is known, and whether its first picture is the first image (1), the second (-1), or both."""
        if self._run is None:
            raise RewardError("reward 'human' asks people during a run; name it in `reward` of a recipe")
        found = []
        for one, other, prompt in zip(levels(first), levels(second), prompts, strict=True):
            names = [self._keep(picture) for picture in (one, other)]
            pair = Pair(prompt=prompt, first=min(names), second=max(names))
            found.append((pair, (names[0] < names[1]) - (names[0] > names[1])))
        return found

    def _keep(self, picture: np.ndarray) -> str:
        assert self._run is not None
        try:
            return keep_picture(self._run, picture.shape, picture.tobytes(), lambda: png_file(picture))
        except OSError as error:
            raise self._unwritable(error) from error

    def _post(self, asked: Round) -> None:
        assert self._run is not None
        try:
            post(self._run, self._rank, asked)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RewardError:
        return RewardError(
            f"reward 'human' cannot write to {self._run}: {error.strerror}. What was chosen is kept: make room, then "
            "repeat the command to go on"
        )

    def _decided(self, mine: Round) -> Board:
        """Wait until the pairs of all processes are decided; their choices stand then."""
        assert self._run is not None
        journal, is_told, touched, seen = Journal(self._run), False, 0.0, None
        while True:
            with journal.held():
                board, is_over = self._board(mine, journal)
                state = len(board.choices), board.selective
                if seen not in (None, state):
                    touched = time.monotonic()
                seen = state
                if is_over and time.monotonic() - touched > LAST_UNDO_S:
                    self._close(mine, board, journal)
                    return board
            if not is_told:
                self._tell_waiting(board)
                is_told = True
            if is_asked_to_stop():
                raise RewardError("reward 'human' was asked to stop: not waiting for people any longer")
            time.sleep(POLL_S)

    def _close(self, mine: Round, board: Board, journal: Journal) -> None:
        """Let choices stand, and what was left to the other scores."""
        left = [pair.key for pair in mine.pairs if len(board.votes_of(pair)) < self._votes]
        if not board.left.issuperset(left):
            journal.leave(left)
        self._post(replace(mine, is_closed=True))

    def _board(self, mine: Round, journal: Journal) -> tuple[Board, bool]:
        """All that is asked in this epoch, and whether it is over for every process."""
        assert self._run is not None
        posted = [asked for asked in rounds(self._run).values() if asked.number >= mine.number]
        here = [replace(asked, is_closed=False) for asked in posted if asked.number == mine.number]
        written, people = journal.read(), self._people or (ALONE,)
        board = Board(here, written.choices, self._votes, self._repeat, people, written.selective, written.left)
        return board, len(posted) == self._size and board.is_over

    def _tell_waiting(self, board: Board) -> None:
        left = sum(not board.is_decided(pair) for pair in board.pairs)
        if self._server is not None and left:
            verb = "waits" if left == 1 else "wait"
            self._say(f"{plural(left, 'pair')} {verb} to be chosen from at {self._server.url}/")

    def _tell(self, board: Board, decided: int) -> None:
        if self._server is not None:
            outcomes = [board.outcome(pair) for pair in board.pairs if board.votes_of(pair)]
            ties, skipped = outcomes.count(0.0), sum(value != value for value in outcomes)
            line = f"chosen from {plural(len(outcomes), 'pair')}: {plural(ties, 'tie')}, {skipped} skipped"
            left = len(board.pairs) - len(outcomes)
            self._say(f"{line}; {left} left to the other scores" if left else line)
        if self._server is not None and decided and self._run is not None:
            record = record_of(self._run)
            random = f"{record.right} of the latest {record.count} random ones, {record.promised:.0%} promised"
            self._say(f"decided by the head: {plural(decided, 'pair')}; right on {random}")
