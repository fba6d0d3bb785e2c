"""Notebooks as Markdown. With the hooks below, MkDocs shows a notebook like any other page and checks its links."""

import json
import re
import shutil
from pathlib import Path


def read_page(path: Path) -> str:
    """Return the Markdown of a page: a Markdown file, or a notebook."""
    text = path.read_text(encoding="utf-8")
    return to_markdown(json.loads(text)) if path.suffix == ".ipynb" else text


def to_markdown(notebook: dict) -> str:
    """Return prose as it is, and code and its text output as fenced blocks, in the order of the cells.

    Raises ``ValueError`` for cells and outputs that a page cannot show.
    """
    parts = []
    for cell in notebook["cells"]:
        source, kind, name = "".join(cell["source"]), cell["cell_type"], cell.get("id", "without id")
        if kind not in ("markdown", "code"):
            raise ValueError(f"cell {name} is {kind}: make it a Markdown or code cell")
        if kind == "markdown":
            parts.append(source)
            continue
        if source.strip():
            parts.append(_fenced(source, "python"))
        if printed := printed_text(cell):
            parts.append(_fenced(printed.rstrip(), 'text title="Output"'))
    return "\n\n".join(parts) + "\n"


def printed_text(cell: dict) -> str:
    """Return what a code cell printed. Raises ``ValueError`` if it has other output, such as an image or an error."""
    if kinds := sorted({output["output_type"] for output in cell["outputs"]} - {"stream"}):
        name = cell.get("id", "without id")
        raise ValueError(
            f"cell {name} has output that is not printed text ({', '.join(kinds)}): clear it; figures need savefig"
        )
    return "".join("".join(output["text"]) for output in cell["outputs"])


def _fenced(text: str, info: str) -> str:
    """Return a block of code, in a fence that is longer than any in the text."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{fence}{info}\n{text}\n{fence}"


def on_files(files, **_):
    """MkDocs: a notebook is a page, not a file to copy."""
    for file in files:
        if file.src_uri.endswith(".ipynb"):
            file.is_documentation_page = lambda: True
            for name in ("dest_uri", "url", "abs_dest_path"):
                vars(file).pop(name, None)  # computed for a file to copy


def on_page_read_source(page, **_):
    """MkDocs: the Markdown of a notebook, and a link to download it; None for other pages."""
    source = Path(page.file.abs_src_path)
    if source.suffix == ".ipynb":
        link = f'<p><a href="{source.name}" download>Download this page as a notebook</a></p>'
        return f"{read_page(source)}\n{link}\n"


def on_post_page(output, page, **_):
    """MkDocs: put a notebook beside its page, for the link to download it."""
    source = Path(page.file.abs_src_path)
    if source.suffix == ".ipynb":
        folder = Path(page.file.abs_dest_path).parent
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / source.name)
