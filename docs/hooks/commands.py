"""The page of the commands, from the command line's own help."""

from typing import Any

import typer

from docs.hooks.text import cell, code, escaped

INTRODUCTION = """# Commands

`fdfo COMMAND --help` says the same. Every command exits with 0 where it did its work, 2 where the configuration is
wrong, and 1 for any other error, which it tells in one message.
"""


def page() -> str:
    """Markdown of the whole page."""
    from fdfo.cli import app

    root = typer.main.get_command(app)
    return "\n".join([INTRODUCTION, *_described("fdfo", root)])


def _described(name: str, command: Any) -> list[str]:
    children = getattr(command, "commands", {})
    if children:
        return [part for child, found in children.items() for part in _described(f"{name} {child}", found)]
    context = command.context_class(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"## {name}\n", f"```text\n{name} {usage}\n```\n", _help(command.help or "")]
    rows = [parameter.get_help_record(context) for parameter in command.params]
    shown = [(option, text) for option, text in filter(None, rows) if option != "--help"]
    if shown:
        lines = [f"| `{code(option)}` | {cell(text)} |" for option, text in shown]
        parts.append("\n".join(["| option | |", "|---|---|", *lines]) + "\n")
    return parts


def _help(text: str) -> str:
    """Paragraphs; those that begin with a backspace sign keep their lines."""
    parts = []
    for block in text.split("\n\n"):
        kept = block.removeprefix("\b\n")
        parts.append(f"```text\n{kept}\n```" if kept != block else escaped(block))
    return "\n\n".join(parts) + "\n"
