"""What trackers are told, read back with their own libraries, without a network."""

import json
import struct
from importlib.metadata import version

import numpy as np
import pytest
from packaging.version import Version
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fdfo.config.load import load_config
from fdfo.errors import ConfigError
from fdfo.evaluation.pictures import read_grid
from fdfo.evaluation.runs import read_events
from fdfo.training.trackers import before_after, flat
from tests.training.runs import run

NAMES = (
    "log.trackers=[tensorboard, wandb, trackio]",
    "log.project=tastes",
    "log.name=warmer",
    "log.tags=[shapes, quick]",
)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run that was judged before training, ended, and went on for an epoch."""
    folder = tmp_path_factory.mktemp("runs") / "tracked"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("TRACKIO_DIR", str(folder.parent / "trackio"))  # read when trackio is first imported
        for epochs in (0, 1):
            run(folder, *NAMES, f"train.epochs={epochs}", "eval.every=1")
    return folder


@pytest.fixture(scope="module")
def board(tracked):
    """What TensorBoard shows of it."""
    found = EventAccumulator(str(tracked / "tastes"), {"images": 0})
    found.Reload()
    return found


def test_tensorboard_has_numbers_and_pictures_in_the_run_folder(tracked, board):
    events = {(event["event"], event["epoch"]): event for event in read_events(tracked)}
    (reward,) = board.Scalars("reward")
    assert reward.step == 1 and reward.value == pytest.approx(events["rollout", 1]["reward"])
    held_out = {one.step: one.value for one in board.Scalars("held-out/reward")}
    for epoch in (0, 1):
        assert held_out[epoch] == pytest.approx(events["evaluation", epoch]["scores"]["reward"]["mean"])
    assert [one.step for one in board.Images("samples")] == [0, 0, 1]  # there is no checkpoint of epoch 0
    (pairs,) = board.Images("pairs")
    grid, tiles = read_grid(tracked / "samples" / "pairs-0000001.png")
    assert (pairs.width, pairs.height) == (grid.columns * 32, len(tiles) // grid.columns * 32)


def test_a_sheet_has_the_picture_before_above_that_after(tracked):
    before, after = (read_grid(tracked / "samples" / f"epoch-000000{epoch}.png")[1][0] for epoch in (0, 1))
    picture = np.asarray(before_after(tracked / "samples", 1))
    places = [place for place in range(picture.shape[0] - 128) if _is_at(picture, place, before)]
    assert len(places) == 1 and _is_at(picture, places[0] + 132, after)
    alone = before_after(tracked / "samples", 0)
    assert alone.height < picture.shape[0]


def _is_at(picture, top, tile):
    """Whether a tile, four times as large, begins at a row of a sheet, in the last column."""
    wanted = np.asarray(tile).repeat(4, 0).repeat(4, 1)
    right = picture.shape[1] - 12
    return np.array_equal(picture[top : top + 128, right - 128 : right], wanted)


BLOCK, HEADER = 32768, 7


def records(path):
    """What wandb keeps of a start: its file is a log of LevelDB's format, in blocks, of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts, found = path.read_bytes(), HEADER, b"", []
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)  # 1: whole; 2, 3, 4: first, middle, last part
        parts += content[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (1, 4):
            found.append(Record.FromString(parts))
            parts = b""
    return found


def test_wandb_goes_on_with_the_same_run_and_gets_the_pictures(tracked):
    key = json.loads((tracked / "tracking.json").read_text())["id"]
    starts = list(tracked.glob("wandb/offline-run-*/run-*.wandb"))
    begins_twice = Version(version("accelerate")) < Version("1.13")  # where there is no network
    assert len(starts) == (4 if begins_twice else 2)
    for path in starts:
        (begun,) = (record.run for record in records(path) if record.HasField("run"))
        assert (begun.run_id, begun.project, begun.display_name) == (key, "tastes", "warmer")
        assert list(begun.tags) == ["shapes", "quick"] and path.name == f"run-{key}.wandb"
    files = [path.name for path in tracked.glob("wandb/offline-run-*/files/media/images/*.png")]
    assert sorted(name.partition("_")[0] for name in files) == ["pairs", "samples", "samples", "samples"]


def test_trackio_goes_on_with_the_same_run_and_gets_the_pictures(tracked):
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import TRACKIO_DIR

    key = json.loads((tracked / "tracking.json").read_text())["id"]
    assert tracked.parent / "trackio" == TRACKIO_DIR
    (record,) = SQLiteStorage.get_run_records("tastes")
    assert record["name"] == f"warmer-{key[:6]}"
    logs = SQLiteStorage.get_logs("tastes", record["name"])
    events = {(event["event"], event["epoch"]): event for event in read_events(tracked)}
    (reward,) = [(line["step"], line["reward"]) for line in logs if "reward" in line]
    assert reward == (1, pytest.approx(events["rollout", 1]["reward"]))
    held_out = {line["step"]: line["held-out/reward"] for line in logs if "held-out/reward" in line}
    expected = {epoch: events["evaluation", epoch]["scores"]["reward"]["mean"] for epoch in (0, 1)}
    assert held_out == pytest.approx(expected)
    shown = [(title, line["step"], line[title]) for title in ("samples", "pairs") for line in logs if title in line]
    assert [one[:2] for one in shown] == [("samples", 0), ("samples", 0), ("samples", 1), ("pairs", 1)]
    with Image.open(TRACKIO_DIR / "media" / shown[2][2]["file_path"]) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), np.asarray(before_after(tracked / "samples", 1)))
    config = SQLiteStorage.get_run_config("tastes", record["name"])
    assert config["train.seed"] == 0 and config["log.name"] == "warmer"


def test_settings_are_flat():
    assert flat({"a": {"b": 1, "c": [2, None]}, "d": None}) == {"a.b": 1, "a.c": "[2, None]", "d": "None"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a\nb", "x" * 101])
def test_names_that_are_no_names_are_refused(name):
    with pytest.raises(ConfigError, match=r"log\.project"):
        load_config("shapes", [f"log.project={json.dumps(name)}"])
