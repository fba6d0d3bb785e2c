"""What a refusal tells the user to set can be set under that name."""

import ast
import re

import pytest
from scbind.core.errors import InputError, redacted
from scbind.plan import digests, settings
from scbind.plan.sheetrows import COLUMNS

KEYS = [re.sub(r"<name>", "*", key) for key, _ in settings.list_keys()]
SECTIONS = {".".join(key.split(".")[:depth]) for key in KEYS for depth in range(1, key.count(".") + 1)}
ELSEWHERE = {column for required, optional in COLUMNS.values() for column in (*required, *optional)}
ELSEWHERE |= {"cell_type", "gene_id", "gene_name", "transcript_id"}  # columns and attributes of files
ELSEWHERE |= {"filtered_peak_bc_matrix", "find_lenders"}  # a folder of Cell Ranger; a rule
ELSEWHERE |= {"slurm_partition", "gpu_model", "mem_mb"}  # resources
WORD = re.compile(r"(?<![\w./{-])[a-z][a-z0-9_]*(?:\.(?:\*|[a-z][a-z0-9_]*))*(?![\w./}(-])")


def literal(node):
    """The text of an expression, without what is filled in; of both sides of a condition."""
    parts = [
        part for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return " ".join(part.value for part in parts)


def refusals():
    """(place, text) of the remedy and the whereabouts of every InputError."""
    for path in sorted(digests.PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        assigned = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                given = [
                    assigned.get(part.id, part) if isinstance(part, ast.Name) else part for part in given
                ]
                yield f"{path.relative_to(digests.PACKAGE)}:{node.lineno}", [literal(part) for part in given]


def unknown(file, problem="", remedy="", where=""):
    """Names that look like a key of the configuration and are none."""
    wrong = []
    for name in WORD.findall(f"{remedy} {where}"):
        if name == "cells.h5ad":
            continue
        if "." in name and name.partition(".")[0] in SECTIONS:
            wrong += [name] if name not in KEYS and name not in SECTIONS else []
        elif "_" in name and "." not in name and name not in ELSEWHERE:
            wrong.append(name)
    return wrong


REFUSALS = list(refusals())


def test_an_error_is_one_short_line_whatever_the_file_holds():
    error = InputError("a\nb.tsv", "no \x00\u2028\ufeffé" + "x" * 100_000 + "end", "correct it", "line 1")
    assert str(error).startswith("a\\nb.tsv, line 1: no \\x00\\u2028\\ufefféxxx")
    assert str(error).endswith("xend; correct it") and len(str(error)) < 600
    assert len(str(InputError("a", "b", "use one of " + "y" * 9000, "z" * 9000))) < 2500
    command = f"sed 's/^/chr/' {'/long' * 300} > RENAMED"
    assert str(InputError("a", "b", command)).endswith(command)


def test_refusals_are_found():
    assert len(REFUSALS) > 100


@pytest.mark.parametrize("place, parts", REFUSALS, ids=[place for place, _ in REFUSALS])
def test_a_refusal_names_keys_that_can_be_set(place, parts):
    assert not unknown(*parts)


def test_a_name_that_nobody_can_set_is_found():
    assert unknown("", "", "lower min_fragments or cells.min_barcodes") == [
        "min_fragments",
        "cells.min_barcodes",
    ]
    assert unknown("", "", "lower cells.min_barcode", "models.*.batch_size") == []


SECRET = [
    ("https://me:hunter2@x.org/f", "https://***@x.org/f"),
    ("https://me:hunt@er2@x.org/f", "https://***@x.org/f"),
    ("http://x.org/f?file=a.bed&X-Amz-Credential=hunter2&X-Amz-Date=1", None),
    ("pool: url: /f?sig=hunter2 (Caused by", "pool: url: /f?sig=*** (Caused by"),
    ("https://x.org/f?acc=GSE1&access_token=hunter2#top", "https://x.org/f?acc=GSE1&access_token=***#top"),
    ("https://x.org/f#access_token=hunter2", "https://x.org/f#access_token=***"),
    ("https://x.org/f?token=hunter2, sources.tsv, line 4", "https://x.org/f?token=***, sources.tsv, line 4"),
    ("https://x.org/f?token=***, sources.tsv", "https://x.org/f?token=***, sources.tsv"),
    ("https://x.org/@scope/f?file=a%20b", "https://x.org/@scope/f?file=a%20b"),
    ("mail me@x.org or 5 > 3?", "mail me@x.org or 5 > 3?"),
]


GRANTS = (
    "key api_key apikey X-Api-Key AWSAccessKeyId access-key Key-Pair-Id subscription-key rlkey resourcekey"
)
GRANTS += " sig Signature X-Amz-Signature sign oauth authorization auth_key access_token session_key signed_id Expires"
GRANTS += " pwd pass password jwt private_link"
MEANS_A_FILE = (
    "file_key object_key keyword key_type monkey signal design assignment sigma author passage compass"
)


@pytest.mark.parametrize("name", GRANTS.split())
def test_a_parameter_that_grants_access_is_hidden(name):
    address = f"https://x.org/get?{name}=hunter2&a=1;{name}=hunter2"
    assert redacted(address) == address.replace("hunter2", "***")


@pytest.mark.parametrize("name", MEANS_A_FILE.split())
def test_a_parameter_that_tells_which_file_is_meant_is_kept(name):
    address = f"https://x.org/get?{name}=1&a=1;{name}=2"
    assert redacted(address) == address


@pytest.mark.parametrize(("text", "shown"), SECRET)
def test_no_message_shows_a_password_or_a_signature(text, shown):
    found = redacted(text)
    assert "hunter2" not in found and "er2" not in found
    assert shown is None or found == shown
    error = InputError(text, text, text, text)
    assert "hunter2" not in f"{error} {error.file} {error.problem} {error.place} {error.remedy}"
