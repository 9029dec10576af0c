"""Pages from templates: escaped, and allowed to load nothing but what this server has."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from fdfo import __version__
from fdfo.visible import visible

POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""`data:` is the empty icon of the pages."""

PICTURES_INSIDE = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Of pages with parts of the report, which hold sizes as styles of elements."""


@cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("fdfo.studio"), autoescape=True, undefined=StrictUndefined)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A template of the studio, filled in."""
    return html_page(_templates(), template, values, POLICY, status)


def html_page(
    templates: Environment, template: str, values: Mapping[str, Any], policy: str, status: int = 200
) -> HTMLResponse:
    """A template of an environment, filled in."""
    text = visible(templates.get_template(template).render(version=__version__, **values))
    return HTMLResponse(text, status, {"Content-Security-Policy": policy, "Cache-Control": "no-store"})


def problem_page(reason: str, status: int, start: str | None) -> HTMLResponse:
    """What went wrong, for a person, who can go on to another page where there is one."""
    return page("problem.html", status, reason=reason[:1].upper() + reason[1:], start=start)
