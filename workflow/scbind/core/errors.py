"""The one error that a user is meant to read."""

from __future__ import annotations

import re

MOST = 500  # maximum characters of a problem; half of that for a place. A damaged file may have a field of any length


# Parts of an address: user and password before the host, and the values of parameters that grant access.
LOGIN = re.compile(r"(?<=://)[^/\s@?#]+(?:@[^/\s@?#]+)*(?=@)")
# Other parameters may tell which file is meant (file_key, signal, author), so they have to stay.
GRANTS = (
    r"auth(?!ors?=)|credential|expires|jwt|passw|(?<![a-z])pass(?==)|policy|private_link|pwd|secret|session|"
    r"(?<!de)(?<!as)sig(?!nal|nif|ma)|token"
)
KEY = (
    r"(?:(?<=[?&;#])|access|account|api|app|client|customer|encryption|functions|link|master|private|public|resource|rl|"
    r"sas|service|shared?|sign(?:ing)?|ssh|storage|subscription|user)[-_.]?key(?=id|[-_.](?:id|pair)|=)"
)
BEARER = re.compile(
    rf"""([?&;#][^=&;#\s'"<>]*(?:{GRANTS}|{KEY})[^=&;#\s'"<>]*=)[^&;#\s'"<>)]*[^&;#\s'"<>),]""",  # no comma at its end
    re.I,
)


def redacted(text: str) -> str:
    """Return text without the passwords and signatures of addresses in it.

    Messages, logs, provenance and bundles are passed on to others, who must not get access.

    Examples
    --------
    >>> redacted("from https://me:pass@x.org/f.bed?file=2&X-Amz-Signature=0ab9 or ftp://a@b")
    'from https://***@x.org/f.bed?file=2&X-Amz-Signature=*** or ftp://***@b'
    """
    return BEARER.sub(r"\1***", LOGIN.sub("***", text)) if "://" in text or "?" in text else text


def printable(text: str) -> str:
    r"""Return text in one line that can be read: characters that do not show become escapes.

    Examples
    --------
    >>> printable("CD4\tT\u200b cell\n")
    'CD4\\tT\\u200b cell\\n'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def shortened(text: str, most: int) -> str:
    """Return the start and the end of a text, in one line and without passwords: what is hidden is hidden first."""
    text = printable(redacted(text))
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[5 - most // 2 :]}"


def said(error: Exception) -> str:
    """Return the first line of the text of an error, for a message about a damaged file.

    Examples
    --------
    >>> said(KeyError("facts")), said(ValueError("wrong checksum")), said(EOFError())
    ('no facts', 'wrong checksum', 'EOFError')
    """
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


class InputError(ValueError):
    """Bad input, reported in one line: the file, the place in it, what is wrong, what to do.

    Parameters
    ----------
    file
        The file (or config key) that is at fault.
    problem
        What is wrong with it.
    remedy
        What the user can do next.
    place
        Where in the file: a line number, a column, a chromosome.
    """

    def __init__(self, file, problem: str, remedy: str, place: str | None = None):
        self.file, self.remedy = redacted(str(file)), shortened(remedy, 4 * MOST)  # it may hold a command
        self.problem, self.place = shortened(problem, MOST), place and shortened(place, MOST // 2)
        where = f"{self.file}, {self.place}" if place else self.file
        super().__init__(printable(f"{where}: {self.problem}; {self.remedy}"))
