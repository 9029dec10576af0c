"""The tutorials as notebooks: `python -m docs.hooks.notebooks` writes notebooks/NAME.ipynb from docs/tutorials/NAME.md.

Python blocks, files and commands of a page become cells, and its text stays between them. A test holds each notebook to
its page, and another executes them.
"""

import re
from pathlib import Path

import jupytext
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "tutorials"
NOTEBOOKS = ROOT / "notebooks"

INSTALL = """```python
import os
import sys
from importlib.util import find_spec

os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]  # where fdfo is, for %%bash
if find_spec("fdfo") is None:  # on a hosted machine
    %pip install --quiet fdfo
```
"""


def notebook(page: Path) -> NotebookNode:
    """The cells of a page, with nothing executed."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'^```\w+ title="(.*?)"\n', r"```python\n%%writefile \1\n", text, flags=re.M)
    text = re.sub(r"^```bash\n", "```python\n%%bash\nset -e\n", text, flags=re.M)
    text = re.sub(r"\]\((?!https?:|#)", "](../docs/tutorials/", text)
    title, rest = text.split("\n", 1)
    made = jupytext.reads(f"{title}\n\n{INSTALL}{rest}", fmt="md")
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    made.nbformat, made.nbformat_minor = 4, 5
    for number, cell in enumerate(made.cells):
        cell["id"], cell["metadata"] = f"cell-{number}", {}
    return made


def written(page: Path) -> str:
    """The text of a page's notebook file."""
    return jupytext.writes(notebook(page), fmt="ipynb") + "\n"


def main() -> None:
    NOTEBOOKS.mkdir(exist_ok=True)
    for page in sorted(PAGES.glob("*.md")):
        (NOTEBOOKS / f"{page.stem}.ipynb").write_text(written(page), encoding="utf-8")


if __name__ == "__main__":
    main()
