"""Pages from templates: escaped, and allowed to load nothing but what this server has."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from fdfo import __version__

POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("fdfo.studio"), autoescape=True, undefined=StrictUndefined)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A template, filled in."""
    text = _templates().get_template(template).render(version=__version__, **values)
    return HTMLResponse(text, status, {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


def problem_page(reason: str, status: int) -> HTMLResponse:
    """What went wrong, for a person."""
    return page("problem.html", status, reason=reason)
