"""The pages of the documentation, and the cells of its notebooks."""

import contextlib
import importlib.util
import io
import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
PAGES = [*sorted(DOCS.rglob("*.md")), *NOTEBOOKS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]

_spec = importlib.util.spec_from_file_location("docs_ipynb", DOCS / "ipynb.py")
ipynb = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ipynb)
read_page = ipynb.read_page
printed = ipynb.printed_text


def read_notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write_notebook(path: Path, notebook: dict) -> None:
    """Write a notebook as Jupyter does."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cells(notebook: dict, title: str) -> tuple[dict, dict[str, str]]:
    """Run each code cell in order, all in one namespace, and close its figures, as Jupyter does.

    Return the namespace, and what each cell prints (id -> text).
    """
    names, texts = {}, {}
    matplotlib.use("Agg")
    for cell in code_cells(notebook):
        code = compile("".join(cell["source"]), f"{title}, cell {cell['id']}", "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, names)
        plt.close("all")
        texts[cell["id"]] = out.getvalue()
    return names, texts
