"""Whether a file is YAML, with a section of keys that occur once; as a program, for the files that it is given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from scbind.core.errors import InputError


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that occurs twice in a section; of such keys, YAML readers use the last without a word."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and seen.setdefault(key.value, line) != line:
                raise _Twice(
                    problem=f"key {key.value} is also in line {seen[key.value]}", problem_mark=key.start_mark
                )
        return node


class _Twice(yaml.MarkedYAMLError):
    """A key occurs twice in one section."""


def check_yaml(path: str | Path) -> None:
    """Raise :class:`InputError` with line and column if a file is not YAML, not a section of keys, or repeats a key.

    A missing file is left to the caller.
    """
    path = Path(path)
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8")
        # As Snakemake reads it: JSON, else YAML, by a loader that refuses a little more than libyaml.
        try:
            content = json.loads(text)
        except ValueError:
            content = yaml.load(text, _UniqueKeys)
    except UnicodeDecodeError as error:
        raise InputError(path, "not a text file in UTF-8", "save it as UTF-8") from error
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else None
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        twice = isinstance(error, _Twice)
        raise InputError(
            path,
            problem if twice else f"not valid YAML ({problem})",
            "write both parts as one, or remove one of them"
            if twice
            else "correct the line; write text with *, : or # in quotes, and indent by spaces",
            place,
        ) from error
    except (
        ValueError,
        TypeError,
        RecursionError,
        AttributeError,
    ) as error:  # such as a date without a day of that month
        problem = f"not valid YAML ({' '.join(str(error).split())})"
        raise InputError(path, problem, "write text that looks like a date or a number in quotes") from error
    if content is not None and not isinstance(content, dict):
        raise InputError(path, "no keys in it", "write keys and values, as in config/config.yaml")


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            check_yaml(name)
            print(f"{name} is valid YAML")
    except InputError as error:
        sys.exit(f"ERROR {error}")
