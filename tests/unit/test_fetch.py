import errno
import gzip
import hashlib
import json
import os

import pytest
import requests
from scbind.core.errors import InputError
from scbind.plan import transfer
from scbind.plan.fetch import fetch, read_facts
from scbind.plan.paths import Resolver
from scbind.plan.pending import pending_line, refuse_too_many
from scbind.plan.progress import DownloadProgress
from scbind.plan.receipts import asked_for

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def url(publisher):
    return publisher.put("file", DATA)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "out"


def asked(publisher):
    """The Range of every request."""
    return [wanted for _, wanted in publisher.seen]


def leave(out, data, **note):
    """Leave what an interrupted download leaves."""
    out.parent.mkdir()
    out.with_name("out.partial").write_bytes(data)
    if note:
        out.with_name("out.partial.json").write_text(json.dumps(note))


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_fetches_and_leaves_nothing_beside(url, out):
    fetch(url, out, SHA.upper())
    assert out.read_bytes() == DATA
    assert names(out.parent) == ["out"]


def test_continues_a_partial_file(publisher, url, out):
    leave(out, DATA[:5000])
    fetch(url, out, SHA)
    assert out.read_bytes() == DATA
    assert asked(publisher) == ["bytes=5000-"]


def test_starts_again_where_ranges_are_not_served(publisher, url, out):
    publisher.ranges = False
    leave(out, b"x" * 5000)
    fetch(url, out, SHA)
    assert out.read_bytes() == DATA


def test_a_partial_file_that_is_whole_is_taken(url, out):
    leave(out, DATA)
    fetch(url, out, SHA)
    assert out.read_bytes() == DATA


def test_a_partial_file_of_the_stated_size_needs_no_network(out):
    leave(out, DATA)
    fetch("http://127.0.0.1:9/file", out, md5=MD5, size=len(DATA), attempts=1)
    assert out.read_bytes() == DATA


def test_a_partial_file_that_is_too_long_is_dropped(url, out):
    leave(out, DATA + b"more")
    fetch(url, out, SHA, wait=0)
    assert out.read_bytes() == DATA


def test_a_cut_transfer_is_continued(publisher, url, out):
    publisher.faults["file"] = ["cut", "cut"]
    fetch(url, out, SHA, wait=0)
    assert out.read_bytes() == DATA
    assert asked(publisher) == [None, "bytes=100-", "bytes=200-"]


def test_a_cut_transfer_is_continued_without_a_checksum(publisher, url, out):
    publisher.faults["file"] = ["cut"]
    fetch(url, out, wait=0)
    assert out.read_bytes() == DATA
    assert asked(publisher) == [None, "bytes=100-"]
    assert names(out.parent) == ["out"]


def test_what_may_be_of_another_file_is_not_continued_without_a_checksum(publisher, url, out):
    publisher.versions = False
    leave(out, b"x" * 5000)
    fetch(url, out)
    assert out.read_bytes() == DATA
    assert asked(publisher) == [None]


def test_what_came_from_another_address_is_not_continued_without_a_checksum(publisher, url, out):
    version = f'"{MD5}"'  # two files may have one date, which stands for the version where there is no tag
    leave(out, b"x" * 5000, url=f"{url}/other", version=version)
    fetch(url, out)
    assert out.read_bytes() == DATA
    assert asked(publisher) == [None]


def test_a_file_that_changed_meanwhile_starts_again(publisher, url, out):
    leave(out, b"x" * 5000, url=url, version='"of another day"')
    fetch(url, out)
    assert out.read_bytes() == DATA
    assert asked(publisher) == ["bytes=5000-"]


def begun(publisher, out, data=b"x" * 5000, **told):
    """Leave the start of an older version of the file on a server that ignores If-Range. Return its address."""
    publisher.conditions = False
    url = publisher.url("file")
    leave(out, data, **({"url": url, "version": '"of another day"', "total": len(DATA)} | told))
    return url


DATE = "Thu, 01 Jan 1970 00:00:00 GMT"  # of every file of the publisher


@pytest.mark.parametrize("facts", [{}, {"size": len(DATA)}, {"sha256": SHA}])
@pytest.mark.parametrize(
    "told",
    [
        {},
        {"version": "Fri, 02 Jan 1970 00:00:00 GMT"},
        {"version": f'"{MD5}"', "total": len(DATA) + 1},
        {"version": DATE, "total": 7000},
    ],
)
def test_two_versions_are_not_joined_if_the_server_ignores_the_condition(publisher, url, out, facts, told):
    fetch(begun(publisher, out, **told), out, **facts, wait=0)
    assert out.read_bytes() == DATA
    assert asked(publisher) == ["bytes=5000-", None]


def test_a_file_that_changes_between_two_attempts_is_of_one_version(publisher, out, monkeypatch):
    publisher.conditions = False
    url = publisher.put("file", b"x" * len(DATA))
    publisher.faults["file"] = ["half"]
    monkeypatch.setattr(transfer.time, "sleep", lambda _: publisher.put("file", DATA))
    fetch(url, out)
    assert out.read_bytes() == DATA


def test_a_reply_that_names_no_version_is_not_joined_without_a_checksum(publisher, url, out):
    publisher.versions = False
    fetch(begun(publisher, out), out)
    assert out.read_bytes() == DATA
    assert asked(publisher) == ["bytes=5000-", None]
    leave(out.parent / "b" / "out", DATA[:5000], url=url, version='"a"')
    fetch(url, out.parent / "b" / "out", SHA)
    assert asked(publisher)[2:] == ["bytes=5000-"], "the checksum decides"


@pytest.mark.parametrize("told", [{}, {"total": None}, {"version": DATE, "total": None}])
def test_what_is_as_long_as_the_file_may_be_of_another_version(publisher, url, out, told):
    fetch(begun(publisher, out, b"x" * len(DATA), **told), out)
    assert out.read_bytes() == DATA
    assert asked(publisher) == [f"bytes={len(DATA)}-", None]


@pytest.mark.parametrize(("versions", "total"), [(True, None), (True, len(DATA)), (False, len(DATA))])
def test_what_is_whole_is_not_fetched_again(publisher, url, out, versions, total):
    publisher.versions = versions
    leave(out, DATA, url=url, version=f'"{MD5}"', total=total)
    fetch(url, out)
    assert out.read_bytes() == DATA
    assert asked(publisher) == [f"bytes={len(DATA)}-"]


@pytest.mark.parametrize("total", ["?", -1, [1], None])
def test_a_damaged_note_of_the_length_is_none(publisher, url, out, total):
    leave(out, DATA[:5000], url=url, version=f'"{MD5}"', total=total)
    fetch(url, out)
    assert out.read_bytes() == DATA and asked(publisher) == ["bytes=5000-"]


def test_a_part_that_is_smaller_than_asked_for_is_not_the_rest(publisher, url, out):
    publisher.faults["file"] = ["half", "piece", "piece", "no total"]
    fetch(url, out, wait=0)
    assert out.read_bytes() == DATA
    assert asked(publisher) == [None, "bytes=5120-", "bytes=6120-", "bytes=7120-"]


def test_a_continued_file_with_another_checksum_starts_again(publisher, url, out, capsys):
    leave(out, b"x" * 5000)
    fetch(url, out, md5=MD5)
    assert out.read_bytes() == DATA
    assert asked(publisher) == ["bytes=5000-", None]
    assert "what was continued has another checksum" in capsys.readouterr().err


def test_a_slow_file_comes_whole(publisher, url, out, capsys):
    publisher.faults["file"] = ["slow"]
    fetch(url, out, SHA, every=0)
    assert out.read_bytes() == DATA
    assert "out: 10.2 kB of 10.2 kB (100%), " in capsys.readouterr().err


def test_an_empty_file_is_refused_unless_a_checksum_says_so(publisher, out):
    empty = publisher.put("file", b"")
    with pytest.raises(InputError, match="file: the server sends an empty file; correct the address"):
        fetch(empty, out)
    assert names(out.parent) == []
    fetch(empty, out, md5=hashlib.md5(b"").hexdigest())
    assert out.read_bytes() == b""


def test_a_file_of_unknown_length_could_be_cut(publisher, url, out):
    publisher.faults["file"] = ["no length"] * 3
    with pytest.raises(
        InputError, match="does not tell the length of the file, .*; write the size or a checksum"
    ):
        fetch(url, out)
    assert names(out.parent) == []
    fetch(url, out, SHA)
    fetch(url, out.with_name("other"), size=len(DATA))


def test_a_transfer_that_the_server_packs_is_no_file(publisher, url, out):
    publisher.coding = "gzip"
    with pytest.raises(
        InputError, match=r"the server compresses the transfer \(gzip\), although it was asked not to"
    ):
        fetch(url, out)
    assert names(out.parent) == []
    fetch(publisher.put("file.bed.gz", DATA), out, SHA)  # the file is packed, not the transfer
    assert out.read_bytes() == DATA


@pytest.mark.parametrize("length", [100, 600, 5000])
@pytest.mark.parametrize("kind", [requests.exceptions.SSLError, requests.exceptions.ProxyError])
def test_a_certificate_is_not_tried_twice_and_its_fault_is_told(url, out, monkeypatch, length, kind):
    tried = []

    def get(url, **_):
        tried.append(url)
        why = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"
        raise kind(f"HTTPSConnectionPool(host='x.org', port=443): {'x' * length} {why}")

    monkeypatch.setattr(requests, "get", get)
    message = (
        r"the certificate of the server is refused \(self-signed certificate\); .*set REQUESTS_CA_BUNDLE"
    )
    with pytest.raises(InputError, match=message):
        fetch(url, out, SHA)
    assert len(tried) == 1


@pytest.mark.parametrize("length", [600, 5000])
def test_a_long_address_does_not_hide_why_a_server_is_not_reached(out, capsys, length):
    path = f"{'long/' * (length // 10)}file?X-Amz-Signature={'hunter2' * (length // 14)}"
    with pytest.raises(
        InputError, match=r"not fetched after 2 attempts \(ConnectionError: .*refused"
    ) as caught:
        fetch(f"http://127.0.0.1:9/{path}", out, SHA, attempts=2, wait=0)
    said = capsys.readouterr().err
    assert "refused" in said and "hunter2" not in said + str(caught.value)


@pytest.mark.parametrize("faults", [["chunks"], ["no chunk", "chunks"]])
def test_a_file_that_comes_in_chunks_is_whole(publisher, url, out, faults):
    publisher.faults["file"] = list(faults)
    fetch(url, out, wait=0)
    assert out.read_bytes() == DATA
    assert len(publisher.seen) == len(faults)


def test_a_busy_server_is_asked_again(publisher, url, out):
    publisher.faults["file"] = [503, 429]
    fetch(url, out, SHA, wait=0)
    assert len(publisher.seen) == 3


def test_waits_as_long_as_the_server_asks(publisher, url, out, monkeypatch):
    pauses = []
    monkeypatch.setattr(transfer.time, "sleep", pauses.append)
    publisher.faults["file"], publisher.retry_after = [503, 503, None], "17"
    fetch(url, out, SHA, wait=10)
    assert pauses == [17, 20]


def test_a_moved_file_is_followed(publisher, url, out, capsys):
    publisher.moved["old"] = "file"
    fetch(publisher.url("old"), out, SHA)
    assert out.read_bytes() == DATA
    assert f"old: moved to {url}" in capsys.readouterr().err


def test_gives_up_and_keeps_what_came(publisher, url, out):
    publisher.faults["file"] = ["cut"] * 2
    with pytest.raises(InputError, match=r"not fetched after 2 attempts .* copy the file there by hand"):
        fetch(url, out, SHA, attempts=2, wait=0)
    assert not out.exists()
    assert out.with_name("out.partial").read_bytes() == DATA[:200]


def test_attempts_with_progress_do_not_count(publisher, out, monkeypatch):
    monkeypatch.setattr(transfer, "BLOCK", 100)
    url = publisher.put("file", DATA)
    publisher.faults["file"] = ["half"] * 5
    fetch(url, out, SHA, attempts=2, wait=0)
    assert len(publisher.seen) == 6


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/file", "Exceeded 30 redirects"),
        ("ftp://127.0.0.1/file", "No connection adapters"),
        ("http:///file", ""),
    ],
)
def test_a_redirect_that_leads_nowhere_is_not_tried_again(publisher, url, out, capsys, target, message):
    publisher.moved["file"] = target.removeprefix("/")
    with pytest.raises(InputError, match=rf"/file: cannot be fetched \(.*{message}.*\); correct the address"):
        fetch(url, out, SHA)
    assert "trying again" not in capsys.readouterr().err


def test_missing_page_is_not_asked_twice(publisher, url, out):
    with pytest.raises(InputError, match=r"files, sources.tsv, line 3: the server answers 404; correct the"):
        fetch(url + "s", out, SHA, wait=0, place="sources.tsv, line 3")
    assert len(publisher.seen) == 1


def test_a_file_that_is_not_public_is_said(publisher, url, out):
    publisher.faults["file"] = [403]
    with pytest.raises(InputError, match=r"the server answers 403; the file is not public: .* by hand"):
        fetch(url, out, SHA, wait=0)


def test_a_login_in_netrc_is_used(publisher, url, out, tmp_path, monkeypatch):
    """The how-to guide on downloads names it, so that no password is in an address."""
    publisher.login = ("me", "secret")
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login me password secret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(InputError, match="the server answers 401; the file is not public"):
        fetch(url, out, SHA, wait=0)
    monkeypatch.setenv("NETRC", str(path))
    fetch(url, out, SHA, wait=0)
    assert out.read_bytes() == DATA


def test_a_server_that_stays_silent_is_asked_again_after_the_timeout(publisher, url, out, capsys):
    publisher.faults["file"] = ["stall"]
    fetch(url, out, SHA, wait=0, timeout=0.2)
    assert out.read_bytes() == DATA and len(publisher.seen) == 2
    publisher.faults["file"] = ["stall"]
    fetch(url, out.with_name("other"), SHA, wait=0, timeout=60)
    assert len(publisher.seen) == 3, "with time enough, once"


@pytest.mark.parametrize("fault", ["login", "login as a file"])
@pytest.mark.parametrize("facts", [{}, {"md5": MD5, "size": len(DATA)}])
def test_a_login_page_is_refused(publisher, url, out, fault, facts):
    publisher.faults["file"] = [fault]
    with pytest.raises(InputError, match=r"/file, sources.tsv, line 3: the server sends a web page \(HTML\)"):
        fetch(url, out, **facts, place="sources.tsv, line 3", wait=0)
    assert names(out.parent) == []
    assert len(publisher.seen) == 1


def test_a_login_page_does_not_cost_what_is_there(publisher, url, out):
    leave(out, DATA[:5000])
    publisher.faults["file"] = ["login"]
    with pytest.raises(InputError, match="web page"):
        fetch(url, out, SHA)
    assert out.with_name("out.partial").read_bytes() == DATA[:5000]


def test_a_page_that_is_asked_for_is_fetched(publisher, url, tmp_path):
    publisher.faults["file"] = ["login"]
    fetch(url, tmp_path / "page.html")
    assert b"Log in" in (tmp_path / "page.html").read_bytes()


def test_a_packed_file_that_is_called_a_page_is_fetched(publisher, url, out):
    publisher.kind = "text/html"
    fetch(url, out)
    assert out.read_bytes() == DATA


XML = b'\xef\xbb\xbf <?XML version="1.0"?><Error><Code>ExpiredToken</Code></Error>'
XHTML = b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><body>Log in</body></html>'
BED = b"chr1\t0\t9\n" * 100
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(100)
OTHERS = [
    ("f.bed", XML, "application/xml", "an XML document, perhaps an error, instead"),
    ("f.bed", XHTML, "application/xhtml+xml", r"a web page \(HTML\), perhaps to log in, instead"),
    ("f.bed", b"<!-- <a> -->" + XHTML[22:], "text/plain", "a web page"),
    ("f.xml", b"<html>Log in</html>", "text/plain", "a web page"),
    ("f.bed", "\ufeff<html>".encode("utf-16-le"), "text/html", "a web page"),
    ("f.bed", b"<!DOCTYPE Error><Error/>", "text/plain", "an XML document"),
    ("f.bed", b'{"error": "no such file"}', "application/json; charset=utf-8", "a JSON document"),
    (
        "f.bed",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "text/plain",
        "a Git LFS pointer",
    ),
]
UNLIKE = [
    ("f.bed.GZ", BED, r"is not gzip, although its name ends in \.gz"),
    ("f.bed.bgz", b"Access denied", "is not gzip"),
    ("f.bed.gz", gzip.compress(gzip.compress(BED, mtime=0), mtime=0), r"is packed twice \(gzip in gzip\)"),
    ("f.bw", BED, "is not bigWig"),
    ("f.bigWig", gzip.compress(BED, mtime=0), "is not bigWig"),
    ("f.bam", b"@HD\tVN:1.6\n", "is not BAM"),
    ("f.scbind.zip", gzip.compress(BED, mtime=0), "is not zip"),
    ("f.h5ad", BED * 10, "is not HDF5"),
    ("f.tsv.zst", BED, "is not zstd"),
]
LEGAL = [
    ("f.xml", XML, "application/xml"),
    ("f.html", XHTML, "text/html"),
    ("f.json", b'{"a": 1}', "application/json"),
    ("f.bed", BED, "application/json"),
    ("f.bed", gzip.compress(BED, mtime=0), "text/plain"),
    ("f.bed.gz", gzip.compress(BED, mtime=0), "text/html"),
    ("f.bed.gz.gz", gzip.compress(gzip.compress(BED, mtime=0), mtime=0), "text/plain"),
    ("f.bam", b"CRAM\x03\x00", "text/plain"),
    ("f.bigWig", b"\x26\xfc\x8f\x88" + bytes(9), "text/plain"),
    ("f.BW", b"\x88\x8f\xfc\x26" + bytes(9), "text/plain"),
    ("f.h5", HDF5, "text/plain"),
    ("f.h5ad", bytes(2048) + HDF5, "text/plain"),
    ("f.zip", b"PK\x03\x04" + bytes(9), "text/plain"),
    ("f", BED, "text/plain"),
]


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize(("name", "data", "kind", "message"), OTHERS)
def test_an_error_or_a_page_in_place_of_the_file_is_refused(
    publisher, tmp_path, name, data, kind, message, checksum
):
    url, publisher.kind = publisher.put("a", data), kind
    (tmp_path / "new").mkdir()
    (tmp_path / f"new/{name}.partial").write_bytes(b"x")
    publisher.ranges = False
    with pytest.raises(InputError, match=f"/a: the server sends {message}.*; open the address in a browser"):
        fetch(url, tmp_path / "new" / name, md5="0" * 32 if checksum else None, wait=0)
    assert names(tmp_path / "new") == [f"{name}.partial"] and len(publisher.seen) == 1


@pytest.mark.parametrize("fault", [None, "cut"])
@pytest.mark.parametrize(("name", "data", "message"), UNLIKE)
def test_a_file_that_does_not_begin_as_its_name_says_is_refused(
    publisher, tmp_path, name, data, message, fault
):
    url, publisher.faults["a"], out = publisher.put("a", data), [fault], tmp_path / "new" / name
    with pytest.raises(InputError, match=f"/a: the server sends a file that {message}.*its checksum$"):
        fetch(url, out, wait=0)
    assert names(tmp_path / "new") == []
    fetch(url, out, md5=hashlib.md5(data).hexdigest())
    assert out.read_bytes() == data, "a checksum decides"


@pytest.mark.parametrize("fault", [None, "cut"])
@pytest.mark.parametrize(("name", "data", "kind"), LEGAL)
def test_a_file_of_the_kind_that_its_name_says_is_fetched(publisher, tmp_path, name, data, kind, fault):
    url, publisher.faults["a"], publisher.kind = publisher.put("a", data), [fault], kind
    fetch(url, tmp_path / name, wait=0)
    assert (tmp_path / name).read_bytes() == data


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_another_size_is_refused_before_the_first_byte(publisher, url, out, size):
    message = f"the server has {len(DATA)} bytes, but its size in the sheet is {size} bytes; if the file was"
    with pytest.raises(InputError, match=message):
        fetch(url, out, size=size)
    assert names(out.parent) == []
    assert len(publisher.seen) == 1


def test_a_download_larger_than_its_size_stops(publisher, out):
    url = publisher.put("file", bytes(30_000_000))
    publisher.faults["file"] = ["no length"]
    written = []

    class Counted(DownloadProgress):
        def tell(self, got):
            written.append(got)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "DownloadProgress", Counted)
        with pytest.raises(InputError, match="sends more than 5000 bytes, but its size in the sheet is 5000"):
            fetch(url, out, size=5000)
    assert max(written) <= 5000
    assert names(out.parent) == []


def test_a_download_smaller_than_its_size_is_incomplete(publisher, url, out):
    publisher.faults["file"] = ["no length"]
    message = f"the server has {len(DATA)} bytes, but its size in the sheet is {len(DATA) + 1}"
    with pytest.raises(InputError, match=message):
        fetch(url, out, size=len(DATA) + 1, wait=0)
    assert names(out.parent) == []


def test_size_and_both_checksums_may_be_given(url, out):
    fetch(url, out, SHA, MD5.upper(), len(DATA))
    assert out.read_bytes() == DATA


def full(free):
    return lambda folder: type("usage", (), {"free": free})


@pytest.mark.parametrize("facts", [{}, {"size": len(DATA)}])
def test_space_is_checked_before_the_first_byte(publisher, url, out, monkeypatch, facts):
    monkeypatch.setattr(transfer.shutil, "disk_usage", full(10_000))
    message = f"{out.parent.resolve()}: no space for out: 10.2 kB needed, 10 kB free; free space there"
    with pytest.raises(InputError, match=message):
        fetch(url, out, **facts)
    assert names(out.parent) == []


def test_what_is_there_needs_no_space(url, out, monkeypatch):
    leave(out, DATA[:5000])
    monkeypatch.setattr(transfer.shutil, "disk_usage", full(len(DATA) - 5000))
    fetch(url, out, SHA)
    assert out.read_bytes() == DATA


def test_space_for_a_copy_is_checked(tmp_path, out, monkeypatch):
    (tmp_path / "a").write_bytes(DATA)
    monkeypatch.setattr(transfer.shutil, "disk_usage", full(100))
    with pytest.raises(InputError, match="no space for a: 10.2 kB needed, 100 bytes free"):
        fetch(str(tmp_path / "a"), out)
    assert names(out.parent) == []


def test_a_disk_that_fills_up_is_not_tried_again(publisher, url, out, monkeypatch):
    def tell(self, got):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DownloadProgress, "tell", tell)
    with pytest.raises(InputError, match="cannot write out.partial: No space left on device; free space"):
        fetch(url, out, SHA)
    assert len(publisher.seen) == 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"sha256": "0" * 64}, f"expected sha256 {'0' * 64}, got {SHA}"),
        ({"md5": "0" * 32}, f"expected md5 {'0' * 32}, got {MD5}"),
        ({"sha256": SHA, "md5": "0" * 32}, f"expected md5 {'0' * 32}, got {MD5}"),
        ({"sha256": "0" * 64, "md5": MD5}, f"expected sha256 {'0' * 64}, got {SHA}"),
    ],
)
def test_wrong_checksum_names_both(publisher, url, out, facts, message):
    with pytest.raises(InputError, match=message):
        fetch(url, out, **facts)
    assert names(out.parent) == []
    assert len(publisher.seen) == 1


def test_a_missing_checksum_is_said(url, out, capsys):
    fetch(url, out)
    said = capsys.readouterr().err
    assert "no checksum is given for out: its bytes are not verified" in said
    assert f"sha256 {SHA}, md5 {MD5}" in said
    fetch(url, out, md5=MD5)
    assert "no checksum" not in capsys.readouterr().err


@pytest.mark.parametrize("facts", [{"sha256": SHA}, {"md5": MD5}])
def test_present_file_needs_no_network(out, facts):
    out.parent.mkdir()
    out.write_bytes(DATA)
    fetch("http://127.0.0.1:9/file", out, **facts, attempts=1)
    assert out.read_bytes() == DATA


def test_present_file_with_another_checksum_is_replaced(url, out):
    out.parent.mkdir()
    out.write_bytes(b"old")
    fetch(url, out, SHA)
    assert out.read_bytes() == DATA


def test_unreachable_server_is_said(out):
    with pytest.raises(InputError, match="127.0.0.1:9/file: not fetched after 1 attempts"):
        fetch("http://127.0.0.1:9/file", out, SHA, attempts=1)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_copies_local_files(tmp_path, form):
    (tmp_path / "a b").write_bytes(DATA)
    source = form.format(tmp_path / "a b")
    fetch(source.replace(" ", "%20") if "://" in form else source, tmp_path / "out", SHA)
    assert (tmp_path / "out").read_bytes() == DATA


def test_a_copy_of_another_size_is_refused(tmp_path, out):
    (tmp_path / "a").write_bytes(DATA)
    with pytest.raises(InputError, match=f"size mismatch: expected size 5, got {len(DATA)}"):
        fetch(str(tmp_path / "a"), out, size=5)
    assert names(out.parent) == []


def test_local_file_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="nothing: no such file; correct its path"):
        fetch(str(tmp_path / "nothing"), tmp_path / "out")


def test_facts_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(DATA * 300)  # more than a block
    found = read_facts(tmp_path / "a")
    assert found["size"] == os.path.getsize(tmp_path / "a")
    assert found["md5"] == hashlib.md5(DATA * 300).hexdigest()
    assert found["sha256"] == hashlib.sha256(DATA * 300).hexdigest()


def row(url, sha256="", md5="", size=None):
    return {"url": url, "sha256": sha256, "md5": md5, "size": size}


def test_a_receipt_tells_which_edits_are_about_another_file(url, out):
    first = asked_for(row(url), out)
    fetch(url, out, asked=first)
    same = [row(url), row(url, SHA), row(url, SHA, MD5, len(DATA)), row("http://mirror/", md5=MD5)]
    assert {asked_for(each, out) for each in same} == {first}
    other = [row("http://mirror/"), row(url, "0" * 64), row(url, SHA, "0" * 32), row(url, SHA, size=5)]
    texts = {asked_for(each, out) for each in other}
    assert len(texts) == len(other) and first not in texts


def test_addresses_of_two_files_are_two_files(tmp_path):
    resolve = Resolver({}, None)
    addresses = [f"https://x.org/get?{name}={each}" for name in ("file_key", "signal", "a") for each in "AB"]
    paths = [resolve(url, "config.yaml", "key genome.genes") for url in addresses]
    assert (
        len(set(paths)) == len({asked_for(row(url), tmp_path / "out") for url in addresses}) == len(addresses)
    )
    assert resolve(addresses[0], "config.yaml", "key genome.exclude") == paths[0]


def test_two_addresses_that_would_be_one_file_are_refused():
    resolve = Resolver({}, None)
    resolve("https://x.org/get?token=hunter2A", "config.yaml", "key genome.exclude")
    message = (
        r"^config.yaml, key genome.genes: https://x.org/get\?token=\*\*\* differs from the address in config.yaml, "
        r"key genome.exclude only in a part that is not shown; .*write source:NAME$"
    )
    with pytest.raises(InputError, match=message):
        resolve("https://x.org/get?token=hunter2B", "config.yaml", "key genome.genes")


def test_an_address_that_is_a_row_of_the_sheet_keeps_its_checksum():
    url = "https://x.org/a.bed"
    name = Resolver({}, None)(url, "", "").removeprefix("resources/")
    sources = {name: {"url": url, "md5": MD5}}
    Resolver(sources, None)(url, "config.yaml", "key genome.genes")
    assert sources[name]["md5"] == MD5


def test_a_receipt_is_of_the_last_file(publisher, url, out):
    fetch(url, out, asked=asked_for(row(url, SHA), out))
    publisher.put("file", b"new")
    new = row(url, md5=hashlib.md5(b"new").hexdigest())
    second = asked_for(new, out)
    fetch(url, out, md5=new["md5"], asked=second)
    assert asked_for(new, out) == second != asked_for(row(url, SHA), out)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"asked": "x"'])
def test_a_damaged_receipt_is_no_receipt(url, out, text):
    fresh = asked_for(row(url), out)
    (out.parent / ".receipts").mkdir(parents=True)
    (out.parent / ".receipts/out.json").write_text(text)
    assert asked_for(row(url), out) == fresh


def test_progress_is_a_line_now_and_then(capsys):
    ticks = iter(range(100))
    progress = DownloadProgress("a.gz", 0, 4_000_000, every=30, clock=lambda: next(ticks))
    for block in range(1, 62):
        progress.tell(block * 50_000)
    assert capsys.readouterr().err.splitlines() == [
        "a.gz: 1.5 MB of 4 MB (38%), 50 kB/s, 50 s left",
        "a.gz: 3 MB of 4 MB (75%), 50 kB/s, 20 s left",
    ]


def test_progress_of_a_file_of_unknown_size(capsys):
    ticks = iter([0, 30])
    DownloadProgress("a.gz", 1000, None, every=30, clock=lambda: next(ticks)).tell(61_000)
    assert capsys.readouterr().err == "a.gz: 61 kB, 2 kB/s\n"


def test_line_of_what_is_to_be_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", full(5_000_000_000))
    rows = {"a": row("", SHA, size=3_000_000_000), "b": row("", md5=MD5), "c": row("", size=2_000_500_000)}
    line = "To download: 3 files; 5 GB and 1 file of unknown size; "
    line += "1 without a checksum, so their bytes are not verified; "
    assert pending_line(rows, tmp_path / "none") == line + "5 GB free, too little"
    (tmp_path / "a.partial").write_bytes(bytes(1_000_000))
    line = line.replace("size;", "size; 1 MB of them are there in part;")
    assert pending_line(rows, tmp_path) == line + "5 GB free"
    assert pending_line({"a": rows["a"]}, tmp_path).startswith("To download: 1 file; 3 GB; 1 MB of them")
    nothing = {name: row("", SHA) for name in "bc"}
    assert pending_line(nothing, tmp_path).startswith("To download: 2 files; 2 files of unknown size; ")


def test_downloads_that_do_not_fit_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", full(5_000_000))
    rows = {name: row("", size=2_000_000) for name in "abc"} | {"d": row("")}
    message = f"{tmp_path.resolve()}: no space for 4 downloads: 6 MB needed, 5 MB free; free space there"
    with pytest.raises(InputError, match=message):
        refuse_too_many(rows, tmp_path / "none")
    (tmp_path / "d.partial").write_bytes(bytes(1_000_000))  # nobody knows how much of it is lacking
    with pytest.raises(InputError, match=message):
        refuse_too_many(rows, tmp_path)
    (tmp_path / "a.partial").write_bytes(bytes(600_000))
    (tmp_path / "b").write_bytes(bytes(400_000))  # to be replaced
    refuse_too_many(rows, tmp_path)
    assert pending_line(rows, tmp_path).endswith("; 5 MB free")
    refuse_too_many({}, tmp_path)
