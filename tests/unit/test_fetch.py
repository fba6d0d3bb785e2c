import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from scbind.core.errors import InputError
from scbind.plan.fetch import fetch

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves DATA; the server's ``faults`` say what goes wrong with the next requests."""

    def do_GET(self):
        server = self.server
        server.seen.append(self.headers.get("Range"))
        fault = server.faults.pop(0) if server.faults else None
        if self.path != "/file":
            return self.send_error(404)
        if isinstance(fault, int) and fault >= 400:
            return self.send_error(fault)
        start, wanted = 0, self.headers.get("Range")
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(DATA):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(DATA)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        else:
            self.send_response(200)
        body = DATA[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100] if fault == "cut" else body)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.seen, server.faults, server.ranges = [], [], True
        server.url = f"http://127.0.0.1:{server.server_port}/file"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def test_fetches_and_leaves_nothing_beside(server, tmp_path):
    fetch(server.url, tmp_path / "new" / "out", SHA.upper())
    assert (tmp_path / "new" / "out").read_bytes() == DATA
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]


def test_continues_a_partial_file(server, tmp_path):
    (tmp_path / "out.partial").write_bytes(DATA[:5000])
    fetch(server.url, tmp_path / "out", SHA)
    assert (tmp_path / "out").read_bytes() == DATA
    assert server.seen == ["bytes=5000-"]


def test_starts_again_where_ranges_are_not_served(server, tmp_path):
    server.ranges = False
    (tmp_path / "out.partial").write_bytes(b"x" * 5000)
    fetch(server.url, tmp_path / "out", SHA)
    assert (tmp_path / "out").read_bytes() == DATA


def test_a_partial_file_that_is_whole_is_taken(server, tmp_path):
    (tmp_path / "out.partial").write_bytes(DATA)
    fetch(server.url, tmp_path / "out", SHA)
    assert (tmp_path / "out").read_bytes() == DATA


def test_a_partial_file_that_is_too_long_is_dropped(server, tmp_path):
    (tmp_path / "out.partial").write_bytes(DATA + b"more")
    fetch(server.url, tmp_path / "out", SHA, wait=0)
    assert (tmp_path / "out").read_bytes() == DATA


def test_a_cut_transfer_is_continued(server, tmp_path):
    server.faults = ["cut", "cut"]
    fetch(server.url, tmp_path / "out", SHA, wait=0)
    assert (tmp_path / "out").read_bytes() == DATA
    assert server.seen == [None, "bytes=100-", "bytes=200-"]


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.faults = [503, 429]
    fetch(server.url, tmp_path / "out", SHA, wait=0)
    assert len(server.seen) == 3


def test_gives_up_and_keeps_what_came(server, tmp_path):
    server.faults = ["cut"] * 2
    with pytest.raises(InputError, match=r"not fetched after 2 attempts .* copy the file there by hand"):
        fetch(server.url, tmp_path / "out", SHA, attempts=2, wait=0)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.partial").read_bytes() == DATA[:200]


def test_missing_page_is_not_asked_twice(server, tmp_path):
    with pytest.raises(InputError, match=r"the server answers 404; correct the address"):
        fetch(server.url + "s", tmp_path / "out", SHA, wait=0)
    assert len(server.seen) == 1


def test_wrong_checksum_names_both(server, tmp_path):
    with pytest.raises(InputError, match=f"expected sha256 {'0' * 64}, got {SHA}"):
        fetch(server.url, tmp_path / "out", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_present_file_needs_no_network(tmp_path):
    (tmp_path / "out").write_bytes(DATA)
    fetch("http://127.0.0.1:9/file", tmp_path / "out", SHA, attempts=1)
    assert (tmp_path / "out").read_bytes() == DATA


def test_present_file_with_another_checksum_is_replaced(server, tmp_path):
    (tmp_path / "out").write_bytes(b"old")
    fetch(server.url, tmp_path / "out", SHA)
    assert (tmp_path / "out").read_bytes() == DATA


def test_unreachable_server_is_said(tmp_path):
    with pytest.raises(InputError, match="127.0.0.1:9/file: not fetched after 1 attempts"):
        fetch("http://127.0.0.1:9/file", tmp_path / "out", SHA, attempts=1)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_copies_local_files(tmp_path, form):
    (tmp_path / "a b").write_bytes(DATA)
    source = form.format(tmp_path / "a b")
    fetch(source.replace(" ", "%20") if "://" in form else source, tmp_path / "out", SHA)
    assert (tmp_path / "out").read_bytes() == DATA


def test_local_file_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="nothing: no such file; correct its path"):
        fetch(str(tmp_path / "nothing"), tmp_path / "out")
