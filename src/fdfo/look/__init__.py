"""How every page of fdfo looks and behaves: style and script without a build step, for reports and the web application.

base.css holds the colours and the elements; tables, charts and pictures have a style and a script each. A page that
changes while it is open calls `enliven(part)` on every part that it adds.
"""

from collections.abc import Sequence
from importlib.resources import files

STYLES = ("base.css", "tables.css", "charts.css", "pictures.css")
SCRIPTS = ("enliven.js", "copying.js", "charts.js", "viewer.js", "pictures.js")


def source(name: str) -> str:
    """A file of this package as text."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def style(names: Sequence[str] = STYLES) -> str:
    """Style sheets in one."""
    return "\n".join(source(name) for name in names)


def script(names: Sequence[str] = SCRIPTS) -> str:
    """Scripts in one; what it binds to comes before it in the page."""
    return "\n".join([*(source(name) for name in names), "enliven(document);"])
