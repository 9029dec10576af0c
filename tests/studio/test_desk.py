"""Choices that count, choices that do not, and what people see of it, over HTTP."""

import errno
import json
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from fdfo.studio import desk as module
from fdfo.studio.choices import Journal
from fdfo.studio.desk import Declined, Wish
from fdfo.studio.pairs import Round, pictures_of, post
from fdfo.studio.people import people_of
from fdfo.studio.progress import Progress
from tests.studio.folders import answer, asked, choose_all, desk_of, run_folder, serving


@pytest.fixture
def run(tmp_path):
    return run_folder(tmp_path / "run")


def test_a_choice_names_the_picture_at_its_side(run):
    pairs, desk = asked(run, 8), desk_of(run)
    for number, pair in enumerate(pairs):
        desk.answer("me", answer(desk, pair, "left", id=f"{number:08d}"))
    for pair, choice in zip(pairs, desk.journal.choices(), strict=True):
        assert choice.chosen == choice.left == pair.left
        assert (choice.prompt, choice.first, choice.second) == (pair.prompt, pair.first, pair.second)
        assert choice.seconds == 1.5 and choice.who == "me" and choice.when.endswith("+00:00")
    assert {pair.left for pair in pairs} == {"first", "second"}


def test_the_view_shows_each_side_and_mirrors_a_repetition(run):
    asked(run, 12)
    desk = desk_of(run, repeat=1.0)
    shown = choose_all(desk)
    first = {item["pair"]: item for item in shown if not item["repeat"]}
    again = [item for item in shown if item["repeat"]]
    assert len(first) == 12 and len(again) == 11
    for item in again:
        assert (item["left"], item["right"]) == (first[item["pair"]]["right"], first[item["pair"]]["left"])
    assert desk.view("me")["self"] == (0, 11)  # always the left picture: never the same one


def test_what_a_person_repeats_alike_is_counted(run):
    asked(run, 12)
    desk = desk_of(run, repeat=1.0)
    choose_all(desk, side=lambda item: "left" if item["left"] < item["right"] else "right")
    view = desk.view("me")
    assert view["self"] == (11, 11) and view["phase"] == "done" and view["decided"] == view["total"] == 12


def test_an_answer_that_comes_twice_counts_once(run):
    (pair, *_), desk = asked(run, 3), desk_of(run)
    for _ in range(2):
        desk.answer("me", answer(desk, pair))
    assert len(desk.journal.choices()) == 1
    with pytest.raises(Declined, match="decided already") as caught:
        desk.answer("me", answer(desk, pair, "right", id="b" * 8))
    assert caught.value.status == 409 and len(desk.journal.choices()) == 1


def test_what_is_gone_or_of_another_run_does_not_count(run, tmp_path):
    (pair, *_), desk = asked(run, 2), desk_of(run)
    other = desk_of(run_folder(tmp_path / "other"))
    with pytest.raises(Declined, match="another run"):
        desk.answer("me", answer(other, pair))
    with pytest.raises(Declined, match="decided already"):
        desk.answer("me", answer(desk, pair, repeat=True))  # it was never chosen from
    post(run, 0, Round(number=0, total=2, pairs=(pair,), is_closed=True))
    with pytest.raises(Declined, match="training goes on"):
        desk.answer("me", answer(desk, pair))
    assert desk.journal.choices() == []


def test_what_others_put_beside_the_rounds_is_passed_over(run, caplog):
    pairs, desk = asked(run, 2), desk_of(run)
    asked_files = run / "choices" / "asked"
    whole = json.loads((asked_files / "0.json").read_text())
    (asked_files / "0 (copy).json").write_text("{}")
    (asked_files / "1.json").write_text(
        json.dumps(whole | {"pairs": [{"prompt": "x", "first": "../x", "second": "y"}]})
    )
    assert desk.board().pairs == pairs and "1.json is damaged" in caplog.text


def test_undo_asks_again_until_training_goes_on(run):
    pairs, desk = asked(run, 2), desk_of(run)
    for number, pair in enumerate(pairs):
        desk.answer("me", answer(desk, pair, id=f"{number:08d}"))
    assert desk.view("me")["phase"] == "done"
    assert desk.undo("me") == pairs[1].key
    assert [item["pair"] for item in desk.view("me")["items"]] == [pairs[1].key]
    desk.answer("me", answer(desk, pairs[1], "right", id="again-00"))
    post(run, 0, Round(number=0, total=2, pairs=tuple(pairs), is_closed=True))
    with pytest.raises(Declined, match="nothing to undo"):
        desk.undo("me")


def test_undo_lets_stand_what_training_went_on_with_before_an_interruption(run):
    pairs, desk = asked(run, 2, undecided=0), desk_of(run, votes=2, has_others=True)
    desk.answer("me", answer(desk, pairs[0]))
    desk.journal.leave([pair.key for pair in pairs])
    assert not desk.view("me")["can_undo"]
    with pytest.raises(Declined, match="nothing to undo"):
        desk.undo("me")
    assert len(desk.journal.choices()) == 1


def test_a_run_is_finished_once_its_report_is_there(run, monkeypatch):
    desk = desk_of(run)
    monkeypatch.setattr(module, "progress_of", lambda run: Progress(epoch=3, epochs=3, training_s=None))
    (run / "report.html").write_text("of a run that was stopped", encoding="utf-8")
    os.utime(run / "report.html", (0, 0))
    assert desk.view("me")["phase"] == "judging"
    before = desk.version()
    (run / "report.html").write_text("of the finished run", encoding="utf-8")
    assert desk.view("me")["phase"] == "finished" and desk.version() != before


def test_pairs_are_dealt_out(run):
    asked(run, 9)
    desk = desk_of(run, ("anna", "ben"))
    first = {who: [item["pair"] for item in desk.view(who)["items"]] for who in ("anna", "ben")}
    assert len({*first["anna"], *first["ben"]}) == 6
    desk.leave("anna")
    assert [item["pair"] for item in desk.view("ben")["items"]][:3] == first["anna"]


def test_what_somebody_walked_away_from_is_given_to_others(run, monkeypatch):
    asked(run, 3)
    desk = desk_of(run, ("anna", "ben"))
    assert len(desk.view("anna")["items"]) == 3 and desk.view("ben")["phase"] == "others"
    monkeypatch.setattr(module.time, "monotonic", lambda clock=module.time.monotonic: clock() + module.HELD_S + 1)
    assert len(desk.view("ben")["items"]) == 3


def test_each_pair_is_decided_by_its_votes(run):
    pairs = asked(run, 4)
    desk = desk_of(run, ("anna", "ben", "carl"), votes=2)
    choose_all(desk, "anna")
    choose_all(desk, "ben", lambda item: "right")
    assert desk.view("carl")["items"] == [] and desk.board().is_over
    assert [desk.board().outcome(pair) for pair in pairs] == [0.0] * 4
    assert desk.view("carl")["others"] == (0, 4)


def test_more_choices_than_a_hand_can_make_are_refused(run):
    pairs, desk = asked(run, module.BURST + 1), desk_of(run)
    for number, pair in enumerate(pairs[:-1]):
        desk.answer("me", answer(desk, pair, id=f"{number:08d}"))
    with pytest.raises(Declined, match="a second") as caught:
        desk.answer("me", answer(desk, pairs[-1], id="last-one"))
    assert caught.value.status == 429


def test_a_pair_without_its_picture_can_only_be_skipped(run):
    (pair,), desk = asked(run, 1), desk_of(run)
    (pictures_of(run) / f"{pair.first}.png").unlink()
    assert desk.view("me")["items"][0]["missing"]
    with pytest.raises(Declined, match="missing"):
        desk.answer("me", answer(desk, pair))
    desk.answer("me", answer(desk, pair, "skip"))


def wish(desk, is_on):
    return Wish(run=desk.people.run, only_undecided=is_on)


def test_the_switch_is_kept_before_it_is_acknowledged_and_tells_how_many_pairs_there_are(run):
    asked(run, 5, undecided=2)
    desk = desk_of(run, has_others=True)
    view = desk.view("me")
    assert (view["has_others"], view["only_undecided"], view["undecided"]) == (True, False, [2, 5])
    before = desk.version()
    desk.show("me", wish(desk, True))
    assert desk.version() != before and Journal(run).read().selective == {"me"}
    view = desk_of(run, has_others=True).view("me")  # started again
    assert view["only_undecided"] and (view["decided"], view["total"]) == (0, 2) and len(view["items"]) == 2
    desk.show("me", wish(desk, True))
    assert desk.journal.path.read_text().count("\n") == 1
    desk.show("me", wish(desk, False))
    assert (view := desk.view("me"))["total"] == 5 and not view["only_undecided"]


def test_pairs_that_are_left_are_chosen_from_by_nobody_and_the_round_is_over(run):
    pairs = asked(run, 5, undecided=2)
    desk = desk_of(run, has_others=True)
    desk.show("me", wish(desk, True))
    assert [item["pair"] for item in choose_all(desk)] == [pair.key for pair in pairs[3:]]
    view = desk.view("me")
    assert (view["phase"], view["decided"], view["total"]) == ("done", 2, 2)
    desk.show("me", wish(desk, False))
    assert [item["pair"] for item in desk.view("me")["items"]] == [
        pair.key for pair in pairs[:3]
    ]  # until training goes on, they can be had back


def test_who_waits_for_the_other_scores_is_told_so(run):
    asked(run, 5)
    desk = desk_of(run, has_others=True)
    desk.show("me", wish(desk, True))
    assert (view := desk.view("me"))["phase"] == "weighing" and view["undecided"] is None and view["total"] == 5


def test_a_switch_that_is_not_offered_or_of_another_run_is_refused(run, tmp_path):
    asked(run, 2)
    alone, other = desk_of(run), desk_of(run_folder(tmp_path / "other"), has_others=True)
    with pytest.raises(Declined, match="no other scores"):
        alone.show("me", wish(alone, True))
    with pytest.raises(Declined, match="another run"):
        other.show("me", wish(alone, True))
    assert not alone.journal.path.exists() and not other.journal.path.exists()


def test_a_switch_is_moved_no_faster_than_a_hand_moves(run):
    asked(run, 2)
    desk = desk_of(run, has_others=True)
    for number in range(module.BURST):
        desk.show("me", wish(desk, number % 2 == 0))
    with pytest.raises(Declined, match="a second"):
        desk.show("me", wish(desk, module.BURST % 2 == 0))


# ---- over HTTP ----


def ask(server, method, path, body=None, **headers):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    content = None if body is None else body if isinstance(body, str) else json.dumps(body)
    connection.request(method, path, content, {"Content-Type": "application/json"} | headers)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply, json.loads(data) if reply.headers["Content-Type"] == "application/json" else data


def test_a_whole_round_over_http(run):
    asked(run, 3)
    with serving(desk_of(run)) as server:
        view = ask(server, "GET", "/choose/state")[1]
        while view["items"]:
            item = view["items"][0]
            picture, data = ask(server, "GET", item["left"])
            assert picture.headers["Content-Type"] == "image/png" and data[:4] == b"\x89PNG"
            body = {"id": f"page-{view['decided']:08d}", "run": view["run"], "pair": item["pair"], "chosen": "right"}
            reply, view = ask(server, "POST", "/choose/answer", body | {"repeat": False, "seconds": 0.5})
            assert reply.status == 200 and view["done"] == item["pair"]
    assert len(Journal(run).choices()) == 3 and view["phase"] == "done"


@pytest.mark.parametrize(
    "change",
    [
        {"chosen": "up"},
        {"seconds": -1.0},
        {"seconds": "1"},
        {"id": "../../etc"},
        {"repeat": 1},
        {"who": "anna"},
        {"pair": None},
        "{",
        "[]",
        '{"seconds": NaN}',
    ],
    ids=str,
)
def test_what_is_no_choice_is_refused(run, change):
    (pair, *_), desk = asked(run, 2), desk_of(run)
    good = answer(desk, pair).model_dump()
    with serving(desk) as server:
        reply, content = ask(server, "POST", "/choose/answer", change if isinstance(change, str) else good | change)
    assert reply.status == 400 and "no choice" in content["error"] and desk.journal.choices() == []


@pytest.mark.parametrize("body", ["{", "[]", '{"run": "x"}', '{"run": "x", "only_undecided": "yes"}'], ids=str)
def test_what_is_no_wish_is_refused(run, body):
    with serving(desk_of(run, has_others=True)) as server:
        reply, content = ask(server, "POST", "/choose/show", body)
    assert reply.status == 400 and "no such wish" in content["error"]


def test_a_switch_that_cannot_be_written_is_not_acknowledged(run, monkeypatch):
    asked(run, 3, undecided=1)
    desk = desk_of(run, has_others=True)

    def full(who, is_on):
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(desk) as server:
        body = wish(desk, True).model_dump()
        with monkeypatch.context() as patch:
            patch.setattr(desk.journal, "switch", full)
            assert ask(server, "POST", "/choose/show", body)[0].status == 507
            assert not desk.view("me")["only_undecided"]
        reply, view = ask(server, "POST", "/choose/show", body)
    assert reply.status == 200 and view["only_undecided"] and view["total"] == 1


def test_large_bodies_and_unknown_paths_are_refused(run):
    asked(run, 1)
    with serving(desk_of(run)) as server:
        assert ask(server, "POST", "/choose/answer", " " * 20_000)[0].status == 413
        for path in ("/nothing", "/assets/secret", "/choose/pictures/none.png", "/choose/pictures/..%2Fasked%2F0.png"):
            assert ask(server, "GET", path)[0].status == 404, path


def test_a_full_disk_is_told_and_the_choice_not_taken(run, monkeypatch):
    (pair, *_), desk = asked(run, 2), desk_of(run)

    def full(choice):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(desk.journal, "add", full)
    with serving(desk) as server:
        reply, content = ask(server, "POST", "/choose/answer", answer(desk, pair).model_dump())
        assert reply.status == 507 and "the disk of the run is full" in content["error"]
        monkeypatch.undo()
        assert ask(server, "POST", "/choose/answer", answer(desk, pair).model_dump())[0].status == 200
    assert len(desk.journal.choices()) == 1


def test_a_token_opens_the_page_of_its_owner_alone(run):
    asked(run, 4)
    desk = desk_of(run, ("anna", "ben"))
    links = desk.people.links("")
    with serving(desk) as server:
        for path in ("/choose/state", "/choose/events", "/choose", f"/choose?token={'x' * 32}"):
            assert ask(server, "GET", path)[0].status == 401, path
        assert ask(server, "POST", "/choose/undo", {})[0].status == 401
        to_page = ask(server, "GET", links["ben"])[0]
        assert to_page.status == 303
        entered = ask(server, "GET", to_page.headers["Location"])[0]
        cookie = entered.headers["Set-Cookie"]
        assert entered.headers["Location"] == "/choose" and "HttpOnly" in cookie and "SameSite=lax" in cookie
        assert ask(server, "GET", "/choose/state", Cookie=cookie.partition(";")[0])[1]["who"] == "ben"
        page, text = ask(server, "GET", "/choose", Accept="text/html")
        assert page.status == 401 and b"not valid" in text


def test_tokens_are_kept_for_the_next_start_and_from_others(run):
    first = people_of(run, ("anna", "ben"), is_local=True)
    assert people_of(run, ("ben", "carl"), is_local=True).tokens["ben"] == first.tokens["ben"]
    assert people_of(run, ("anna",), is_local=True) == type(first)(first.run, {"anna": first.tokens["anna"]})
    assert (run / "choices" / "people.json").stat().st_mode & 0o077 == 0
    for damaged in ("{", '{"tokens": {"anna": 3}}', '{"tokens": {"anna": ""}}', '{"run": [], "tokens": {}}'):
        (run / "choices" / "people.json").write_text(damaged)
        links = people_of(run, ("anna",), is_local=True).tokens
        assert len(links["anna"]) == 32 and links["anna"] != first.tokens["anna"]


def test_only_this_machine_may_ask_without_a_token(run):
    assert people_of(run, (), is_local=True).who(None) == "me"
    beyond = people_of(run, (), is_local=False)
    assert beyond.who(None) is None and beyond.who("") is None and beyond.who(beyond.tokens["me"]) == "me"


def test_a_stream_tells_every_change_and_streams_are_bounded(run):
    (pair, *_), desk = asked(run, 2), desk_of(run)
    with serving(desk) as server:

        def stream(opened):
            """Status line of a new stream, and the lines of data after it."""
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            connection.sendall(b"GET /choose/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            lines = opened.enter_context(connection.makefile("rb"))
            return lines.readline(), (line for line in lines if line.startswith(b"data"))

        with ExitStack() as opened:
            (_, events), *_ = [stream(opened) for _ in range(4)]
            assert next(events) == b"data: true\n"
            desk.answer("me", answer(desk, pair))
            assert next(events) == b"data: true\n"
            assert b" 429 " in stream(opened)[0]


def test_a_run_folder_that_is_gone_stays_so_and_is_told(run):
    (pair, *_), desk = asked(run, 2), desk_of(run, has_others=True)
    with serving(desk) as server:
        shutil.rmtree(run)
        reply, content = ask(server, "GET", "/choose/state")
        assert reply.status == 404 and "is not a run folder" in content["error"]
        wishes = {"answer": answer(desk, pair), "show": wish(desk, True)}
        for path, body in wishes.items():
            reply, content = ask(server, "POST", f"/choose/{path}", body.model_dump())
            assert reply.status == 507 and "cannot be written" in content["error"]
    assert not run.exists()


def test_choices_sent_at_once_are_all_written(run):
    pairs, desk = asked(run, 12), desk_of(run)
    with serving(desk) as server, ThreadPoolExecutor(6) as threads:

        def send(number):
            body = answer(desk, pairs[number], id=f"at-once-{number}").model_dump()
            return ask(server, "POST", "/choose/answer", body)[0].status

        assert list(threads.map(send, range(12))) == [200] * 12
    assert {choice.pair for choice in desk.journal.choices()} == {pair.key for pair in pairs}
