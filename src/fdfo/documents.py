"""YAML and JSON that people write: every key once, and nothing that breaks a parser or is too large to print."""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

MOST_LEVELS = 100
"""Sections inside sections, lists inside lists; parsers end at about a thousand."""

MOST_VALUES = 10**6
"""Values of a YAML document, where an alias counts as often as it stands: ten lines of aliases can stand for 10^9."""

MOST_BITS = 1024
"""Most bits of a whole number: more than a float can hold. Python refuses to print 4300 digits."""

_NESTED = f"it is nested more than {MOST_LEVELS} levels deep"
_TOO_LARGE = "it holds a whole number of more than 300 digits"


class BadDocument(ValueError):
    """What is wrong with a text, on one line."""


class BadSyntax(BadDocument):
    """The text is not of this language at all."""


def parse_yaml(text: str) -> Any:
    """The content of a YAML document. Raises BadDocument, also for a key that stands twice in a section."""
    try:
        content = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise BadSyntax(f"{where}{error.problem}") from None
    except yaml.YAMLError as error:  # of its reader: a control character
        raise BadSyntax(" ".join(str(error).split())) from None
    except RecursionError:
        raise BadDocument(_NESTED) from None
    except BadDocument:
        raise
    except ValueError as error:  # a date that is none, a number that Python refuses to read
        raise BadDocument(_TOO_LARGE if "digits" in str(error) else str(error)) from None
    check_size(content, MOST_VALUES)
    return content


def yaml_text(content: Any) -> str:
    """A YAML document that `parse_yaml` reads back to equal content."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse_json(text: str) -> Any:
    """The content of a JSON document; NaN and Infinity, which Python writes, are read.

    Raises BadDocument, also for a key that stands twice in an object.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if "\n" in text else ""
        raise BadSyntax(f"not valid JSON ({place}column {error.colno}: {error.msg})") from None
    except RecursionError:
        raise BadDocument(_NESTED) from None
    except BadDocument:
        raise
    except ValueError:  # a number that Python refuses to read
        raise BadDocument(_TOO_LARGE) from None
    check_size(content)
    return content


def json_problem(fields: Mapping[Any, Any]) -> str | None:
    """Why JSON cannot hold the fields of an object that no parser made; NaN and Infinity are held."""
    try:
        check_size(fields)
        if names := [name for name in fields if not isinstance(name, str)]:
            return f"the name {names[0]!r:.40} is not a text"
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "half a surrogate pair (\\ud800 to \\udfff)"
    except (BadDocument, TypeError, ValueError) as error:
        return str(error)
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise BadDocument(f"the key {twice!r} stands twice in an object; remove one")
    return content


class _Loader(yaml.SafeLoader):
    """PyYAML's, which would let the last of several equal keys win without a word; 1e-4 is a number, as in YAML 1.2
    and JSON; a date is text, and so are 010 and 1:30, which JSON does not read as numbers."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                line = key.start_mark.line + 1
                raise BadDocument(f"line {line}: the key {key.value!r} stands twice in a section; remove one")
            seen.add(name)
        return node


_OF_OTHER_BASES = re.compile(r"[-+]?(0[0-7_]+|\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?)$")
"""Eight and sixty, in which YAML 1.1 reads 010 and 1:30: 8 and 90."""

_Loader.yaml_implicit_resolvers = {
    first: [("tag:yaml.org,2002:str", _OF_OTHER_BASES)]
    + [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")


class _Dumper(yaml.SafeDumper):
    """Puts a text into quotes where `_Loader` would read a number."""


for _one in (_Loader, _Dumper):
    _one.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def check_size(content: Any, most_values: float = float("inf")) -> None:
    """Raise BadDocument for what is too deep, too large or refers to itself."""
    waiting, values = [(content, 0)], 0
    while waiting:
        value, level = waiting.pop()
        values += 1
        if level > MOST_LEVELS:
            raise BadDocument(_NESTED)
        if values > most_values:
            raise BadDocument(f"its aliases stand for more than {most_values} values")
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise BadDocument(_TOO_LARGE)
        if isinstance(value, Mapping):
            waiting += [(part, level + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, level + 1) for part in value]
