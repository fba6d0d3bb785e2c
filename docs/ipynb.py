"""Notebooks as Markdown. With the hooks below, MkDocs shows a notebook like any other page and checks its links."""

import json
import shutil
from pathlib import Path


def read_page(path: Path) -> str:
    """Return the Markdown of a page: a Markdown file, or a notebook."""
    text = path.read_text(encoding="utf-8")
    return to_markdown(json.loads(text)) if path.suffix == ".ipynb" else text


def to_markdown(notebook: dict) -> str:
    """Return prose as it is, and code and its text output as fenced blocks, in the order of the cells."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        printed = "".join("".join(output["text"]) for output in cell["outputs"])
        if printed:
            parts.append(f'```text title="Output"\n{printed.rstrip()}\n```')
    return "\n\n".join(parts) + "\n"


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
