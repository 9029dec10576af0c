"""Commands whose settings are words, as key=value: what is said where one is given as an option."""

from collections.abc import Sequence
from shlex import quote
from textwrap import wrap
from typing import Any

from typer.core import TyperCommand


class TakesWords(TyperCommand):
    """A command that takes settings as words."""

    def keys(self) -> Sequence[str]:
        """All settings that it takes, as far as they are known."""
        return ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual; of an option that is none, the setting that is meant is named."""
        given = [*args]  # which is consumed
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if hasattr(error, "possibilities"):  # click's NoSuchOption, which typer has of its own in some versions
                self._explain(error, given)
            raise

    def _explain(self, error: Any, given: Sequence[str]) -> None:
        from fdfo.config.keys import keys_named

        keys, name = self.keys(), error.option_name.lstrip("-").replace("-", "_")
        meant = [name] if name in keys else keys_named(name.rpartition(".")[2], keys)
        if keys and not meant and error.possibilities:
            return
        words = [f"{key}={_value(error.option_name, given)}" for key in meant or [name]]
        said = ", as key=value" if keys and not meant else f": {' or '.join(map(quote, words))}"
        error.message = f"No such option: {error.option_name}; settings are words{said}"
        error.possibilities = None


class TakesConfiguration(TakesWords):
    """`fdfo train`: its settings are keys of the configuration, and its help ends with the recipes."""

    def keys(self) -> Sequence[str]:
        """Those of the tree, with the fields of every method of ours."""
        from fdfo.config.load import all_keys
        from fdfo.plugins import SETTINGS, settings_of

        return all_keys(*map(settings_of, SETTINGS))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The names of all shipped recipes, by how they begin."""
        from fdfo.config.recipe_files import grouped, recipe_names

        formatter.write_paragraph()
        formatter.write("Recipes (or the path of a YAML file, as `fdfo init` writes):\n")
        for start, names in grouped(recipe_names()).items():
            text = f"{start}: {', '.join(names)}" if start else ", ".join(names)
            lines = wrap(text, formatter.width - 2, subsequent_indent="  ", break_on_hyphens=False)
            formatter.write("".join(f"  {line}\n" for line in lines))


class TakesPlan(TakesWords):
    """`fdfo compare` and `fdfo probe`: their settings are fields of a plan."""

    def keys(self) -> Sequence[str]:
        """Those of a plan, and `methods`, which stands for a cell of each."""
        from fdfo.comparison.plan import Plan

        return [*Plan.model_fields, "methods"]


def _value(option: str, given: Sequence[str]) -> str:
    """What was given for an option: behind its equals sign, or as the next word."""
    for word, following in zip(given, [*given[1:], ""], strict=True):
        if word == option:
            return "..." if following.startswith("-") or not following else following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return "..."
