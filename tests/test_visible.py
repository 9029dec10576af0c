"""Nothing that a prompt, an exception or a name holds acts on a terminal or a page."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console as RichConsole

from fdfo.commands.evaluation_output import _cell, print_evaluation
from fdfo.commands.startup import check_surroundings
from fdfo.commands.terminal import say, tell
from fdfo.errors import ConfigError
from fdfo.evaluation.report.page import fill, templates
from fdfo.evaluation.statistics import Interval
from fdfo.evaluation.summary import Row, markdown
from fdfo.training.console import Console
from fdfo.visible import from_here, visible

HOSTILE = "\x1b]0;title\x07\x1b[31mred\x9b2J\r\b\x00\u202eevil\u2066\u2028\udce9"
SAFE = r"\x1b]0;title\x07\x1b[31mred\x9b2J\r\x08\x00\u202eevil\u2066\u2028\udce9"


def test_what_acts_becomes_an_escape_and_everything_else_stays():
    assert visible(HOSTILE) == SAFE
    kept = "plain\ttab\nline é 日本語 🖼️ 👩‍🚀 سلام \\x1b {}[]<>"
    assert visible(kept) == kept
    assert not any(character in visible("".join(map(chr, range(0x3000)))) for character in HOSTILE[:1] + "\u202e\x9b")
    assert visible("".join(map(chr, range(0xD800, 0xE000)))).isascii()


def test_commands_say_it_as_an_escape(capsys):
    say(f"checkpoint {HOSTILE}")
    tell(f"reward raised {HOSTILE}\nsecond line")
    assert capsys.readouterr() == (f"checkpoint {SAFE}\n", f"error: reward raised {SAFE}\nsecond line\n")


def test_a_run_says_it_as_an_escape(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("fdfo"), "propagate", False)  # a report of pytest holds no surrogates
    with Console(is_main=True, epochs=1) as console:
        console.say(HOSTILE, style="yellow")
        logging.getLogger("fdfo").warning("server said %s", HOSTILE)
        console.title = console.doing = HOSTILE
        RichConsole(file=sys.stdout, width=300).print(console.line())
    out = capsys.readouterr().out
    assert out.count(SAFE) == 3
    assert visible(out) == out


def test_tables_show_names_that_look_like_markup_or_act():
    out = io.StringIO()
    RichConsole(file=out, width=200).print(_cell("[red]x[/nothing] " + HOSTILE))
    assert out.getvalue().startswith("[red]x[/nothing] " + SAFE[:40])
    row = Row(score=HOSTILE, category=None, weights="base", mean=Interval(1.0, 1.0, 1.0, 1), gain=None, wins=None)
    assert SAFE in markdown([row])


def test_a_name_of_any_length_or_lines_takes_one_row_and_leaves_room_for_the_numbers(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    names, value = ["x\ny | z", "n" * 500], Interval(0.123, 0.1, 0.2, 4)
    rows = [
        Row(score="s", category=name, weights=weights, mean=value, gain=gain, wins=wins)
        for name in names
        for weights, gain, wins in (("base", None, None), ("adapter", value, 0.75))
    ]
    assert [line for line in markdown(rows).splitlines() if line.startswith(r"| s, x\ny \| z | base")]
    result = SimpleNamespace(prompts=[0] * 4, images_per_prompt=1, failed={}, values=None)
    print_evaluation(rows, {"base": result, "adapter": result})  # pyright: ignore[reportArgumentType]
    shown = capsys.readouterr().out.splitlines()
    assert [line[:10].strip() for line in shown if line.rstrip().endswith("75%")] == [r"x\ny | z", "nnnnnnnn"]


def test_a_page_holds_it_as_an_escape(monkeypatch):
    from jinja2 import DictLoader

    loader = DictLoader({"x.html": "<p title='{{ text }}'>{{ text }}</p>", "report.css": "", "report.js": ""})
    monkeypatch.setattr(templates(), "loader", loader)
    page = fill("x.html", {"text": HOSTILE})
    assert page == f"<p title='{SAFE}'>{SAFE}</p>"


def test_every_line_of_the_commands_goes_through_one_function():
    source = Path(__file__).parents[1] / "src" / "fdfo"
    speaking = [
        str(path.relative_to(source))
        for path in sorted(source.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.lstrip().startswith(("print(", "typer.echo(", "sys.stdout.write(", "sys.stderr.write("))
    ]
    pretraining = "shapes/pretrain/"
    assert {path for path in speaking if not path.startswith(pretraining)} == {
        "commands/startup.py",
        "commands/terminal.py",
        "comparison/one_run.py",
    }


def fdfo(*arguments, cwd=None, **environment):
    """A command in a process of its own: (exit code, standard output, standard error), as bytes."""
    command = [sys.executable, "-m", "fdfo", *arguments]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONIO"))}
    result = subprocess.run(command, capture_output=True, cwd=cwd, env={**inherited, **environment})
    return result.returncode, result.stdout, result.stderr


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_arguments_that_are_not_utf8_are_refused_at_the_door():
    code, out, err = fdfo(b"train", b"shapes-smoke", b"--run", b"caf\xe9", PYTHONIOENCODING="cp1252")
    assert (code, out) == (2, b"")
    assert b"caf\\udce9: not UTF-8; rename the file or folder, or convert the text" in err
    assert b"Traceback" not in err


def test_a_console_of_another_encoding_shows_every_message():
    code, _, err = fdfo("train", "日本語é.yaml", PYTHONIOENCODING="cp1252")
    assert code == 2
    assert b"1 problem in \\u65e5\\u672c\\u8a9e\xe9.yaml" in err
    assert b"Traceback" not in err


def test_a_locale_without_utf8_is_told_what_to_set():
    code, _, err = fdfo("generate", "café", "--model", "shapes", **ASCII)
    assert code == 2
    assert b"this locale reads ascii only; set PYTHONUTF8=1, or LANG to one of UTF-8" in err


def test_a_working_directory_that_is_gone_is_told(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="the working directory was deleted; change to one that is there"):
        check_surroundings([])
    assert from_here(tmp_path / "report.html") == str(tmp_path / "report.html")
    monkeypatch.chdir(tmp_path)
    check_surroundings(["ünïcödé", "a b"])
    assert from_here(tmp_path / "a" / "report.html") == "a/report.html"
