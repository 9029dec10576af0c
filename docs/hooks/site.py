"""What mkdocs runs: pages that are made from the code, and links to files outside the site."""

import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.hooks import commands, keys  # noqa: E402 - found by the line above


def home() -> str:
    """README as the first page of the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!https?:)", "](../", text)
    return re.sub(r"(\]\(|src=\")(?:\.\./)?docs/", r"\1", text)


GENERATED = {"index.md": home, "reference/keys.md": keys.page, "reference/commands.md": commands.page}

FOLDERS = ("tutorials", "how-to", "", "reference", "results")
TUTORIALS = ("ten-minutes.md", "your-own.md", "scores.md")

RESULTS_BOOST = 0.001
"""A title counts a thousand times in the search: one of results as much as a text elsewhere."""

_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, make in GENERATED.items():
        files.append(File.generated(config, path, content=make()))
    return files


def _place(file: File) -> tuple[int, int]:
    """Where a page stands: its folder's place, and a tutorial's own; others keep the order of their names."""
    folder, _, name = file.src_uri.rpartition("/")
    place = FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)
    return (-1, 0) if file.src_uri == "index.md" else (place, TUTORIALS.index(name) if name in TUTORIALS else 0)


def on_nav(nav: Navigation, **_: Any) -> Navigation:
    """Put pages into the order in which they are read; those in no folder become a section beside the others."""
    nav.pages.sort(key=lambda page: _place(page.file))
    for before, page, after in zip([None, *nav.pages], nav.pages, [*nav.pages[1:], None], strict=False):
        page.previous_page, page.next_page = before, after
    alone = [item for item in nav.items if item.is_page and item is not nav.homepage]
    guides = Section("Guides", alone)
    for page in alone:
        page.parent = guides
    sections = [item for item in nav.items if item.is_section]
    for section in sections:
        section.children.sort(key=nav.pages.index)
    ordered = sorted([*sections, guides], key=lambda section: nav.pages.index(section.children[0]))
    nav.items[:] = [nav.homepage, *ordered]
    return nav


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Results stand below the pages that say how. Their commands write them, so they do not say it themselves."""
    if page.file.src_uri.startswith("results/"):
        page.meta.setdefault("search", {"boost": RESULTS_BOOST})
    return html


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files, **_: Any) -> str:
    """Links to files of the repository that are no page of the site: to the repository, or their names as code."""

    def replaced(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        here = PurePosixPath("docs", page.file.src_uri).parent
        path = (ROOT / here / target).resolve()
        inside = path.relative_to(ROOT) if path.is_relative_to(ROOT) else None
        if inside is None or (inside.parts[:1] == ("docs",) and _on_site(files, PurePosixPath(*inside.parts[1:]))):
            return match[0]
        if not path.exists():
            return match[0]  # mkdocs tells that it is missing
        return f"[{text}]({config.repo_url}/blob/main/{inside.as_posix()}{anchor})" if config.repo_url else text

    return _LINK.sub(replaced, markdown.replace("\n", f"\n\n{_as_notebook(page, config)}\n", 1))


def _on_site(files: Files, path: PurePosixPath) -> bool:
    found = files.get_file_from_path(str(path))
    return found is not None and found.inclusion.is_included()


def _as_notebook(page: Page, config: MkDocsConfig) -> str:
    """A button that opens a tutorial on a hosted machine, where it is known in which repository this is."""
    notebook = f"notebooks/{PurePosixPath(page.file.src_uri).stem}.ipynb"
    if not page.file.src_uri.startswith("tutorials/"):
        return ""
    if not config.repo_url:
        return f"*Also a notebook: `{notebook}`.*"
    repository = config.repo_url.removeprefix("https://github.com/").strip("/")
    place = f"https://colab.research.google.com/github/{repository}/blob/main/{notebook}"
    return f"[Open as a notebook]({place}){{ .md-button }}"
