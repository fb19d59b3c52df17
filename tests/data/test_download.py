"""Downloads from a real HTTP server on this machine, of archives made here."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lriad.data import download as module
from lriad.data import load_dataset
from lriad.data.download import ARCHIVES, Archive, download, download_archive, find_archive
from lriad.errors import LriadError


class Site:
    """A web site with one file, and the ways in which a server can misbehave."""

    def __init__(self) -> None:
        self.content = b""
        self.etag: str | None = '"one"'
        self.last_modified: str | None = None
        self.knows_ranges = True
        self.knows_if_range = True
        self.claims: int | None = None  # Content-Length, where it is not the truth
        self.tells_length = True
        self.cut: int | None = None  # close the connection after so many bytes of the body
        self.failures: list[int] = []  # statuses to answer first, one a request
        self.redirect_to: str | None = None
        self.requests: list[dict[str, str]] = []
        self.url = ""

    @property
    def ranges(self) -> list[str | None]:
        return [request.get("Range") for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        site.requests.append(dict(self.headers))
        if site.failures:
            self.send_error(site.failures.pop(0))
            return
        if site.redirect_to and self.path == "/start":
            self.send_response(302)
            self.send_header("Location", site.redirect_to)
            self.end_headers()
            return
        start = self.start_of_range()
        if start is not None and start >= len(site.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(site.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = site.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.last_modified:
            self.send_header("Last-Modified", site.last_modified)
        if site.tells_length:
            self.send_header("Content-Length", str(len(body) if site.claims is None else site.claims))
        self.end_headers()
        self.wfile.write(body[: site.cut])

    def start_of_range(self) -> int | None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None or not self.site.knows_ranges:
            return None
        condition = self.headers.get("If-Range")
        if condition and self.site.knows_if_range and condition not in (self.site.etag, self.site.last_modified):
            return None
        return int(asked[1])


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_port}/set.tar"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


FILES = {
    "bottle/train/good/000.png": b"a" * 3000,
    "bottle/test/broken/000.png": os.urandom(50_000),  # hardly to be compressed: archives keep their size
    "readme.txt": b"hello",
}


def tar_of(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_with(*members: tarfile.TarInfo) -> bytes:
    """A good file, then `members` (their data zeros)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        good = tarfile.TarInfo("good.png")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def serve(site: Site, content: bytes, **changes: object) -> Archive:
    """Put `content` on the site and describe it."""
    site.content = content
    archive = Archive(
        name="set",
        title="A set",
        url=site.url,
        sha256=hashlib.sha256(content).hexdigest(),
        filename="set.tar",
        licence="CC0 1.0",
        licence_url="https://example.org/licence",
        homepage="https://example.org/",
        citation="Nobody, 2000",
    )
    return dataclasses.replace(archive, **changes)  # type: ignore[arg-type]


def get(archive: Archive, directory: Path, **options: object) -> Path:
    return download_archive(archive, directory, accept_licence=True, progress=False, **options)  # type: ignore[arg-type]


def refusal(archive: Archive, directory: Path, **options: object) -> str:
    """The one line with which a download fails."""
    with pytest.raises(LriadError) as caught:
        get(archive, directory, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below `root`, but the marker."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lriad.json"
    }


# The whole way


@pytest.mark.parametrize(
    "packed",
    [tar_of(FILES), tar_of(FILES, "w:xz"), tar_of(FILES, "w:gz"), zip_of(FILES)],
    ids=["tar", "tar.xz", "tar.gz", "zip"],
)
def test_a_data_set_arrives_whole_and_nothing_else_stays(site: Site, tmp_path: Path, packed: bytes) -> None:
    archive = serve(site, packed)
    root = get(archive, tmp_path / "new" / "folder")
    assert root == tmp_path / "new" / "folder" / "set"
    assert contents(root) == FILES
    assert [path.name for path in root.parent.iterdir()] == ["set"]
    assert archive.spec(root) == f"mvtec:{root}"
    assert site.requests[0]["Accept-Encoding"] == "identity"


def test_a_zip_stored_at_the_end_of_a_tar_is_not_taken_for_the_archive(site: Site, tmp_path: Path) -> None:
    files = {"a.txt": b"a", "inner.zip": zip_of({"b.txt": b"b"})}
    assert contents(get(serve(site, tar_of(files)), tmp_path)) == files


def test_a_complete_data_set_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    get(archive, tmp_path)
    get(archive, tmp_path)
    assert len(site.requests) == 1


def test_a_foreign_folder_of_that_name_is_left_alone(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    assert "not from this archive" in refusal(archive, tmp_path)
    assert contents(tmp_path / "set") == {"mine.txt": b"mine"}
    assert site.requests == []


def test_an_archive_put_there_by_hand_is_used_and_kept(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    (tmp_path / "set.tar").write_bytes(site.content)
    assert contents(get(archive, tmp_path)) == FILES
    assert (tmp_path / "set.tar").read_bytes() == site.content
    assert site.requests == []


def test_redirects_are_followed_and_a_mirror_can_be_named(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.redirect_to = "/elsewhere"
    mirror = site.url.replace("/set.tar", "/start")
    assert contents(get(dataclasses.replace(archive, url="http://127.0.0.1:9/gone"), tmp_path, url=mirror)) == FILES
    assert len(site.requests) == 2


def test_the_progress_bar_ends_at_the_size_of_the_file(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = serve(site, tar_of(FILES))
    download_archive(archive, tmp_path, accept_licence=True, progress=True)
    assert "set.tar" in capsys.readouterr().err
    get(dataclasses.replace(archive, name="again"), tmp_path)
    assert capsys.readouterr().err == ""


# Resuming


def test_a_partial_file_is_continued_with_a_range_request(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    (tmp_path / "set.tar.part").write_bytes(site.content[:20_000])
    assert contents(get(archive, tmp_path)) == FILES
    assert site.ranges == ["bytes=20000-"]


def test_a_truncating_server_leaves_a_partial_file_that_the_next_call_continues(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.cut = 1000
    message = refusal(archive, tmp_path)
    assert "run again to resume" in message
    assert "set.tar.part" in message
    have = 1000 * module.ATTEMPTS
    assert (tmp_path / "set.tar.part").read_bytes() == site.content[:have]
    assert not (tmp_path / "set").exists()
    site.cut = None
    assert contents(get(archive, tmp_path)) == FILES
    assert site.ranges[-1] == f"bytes={have}-"
    assert site.requests[-1]["If-Range"] == '"one"'
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_dropped_connections_are_taken_up_in_the_same_call(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.cut = len(site.content) // 3 + 1
    assert contents(get(archive, tmp_path)) == FILES
    assert site.ranges == [None, f"bytes={site.cut}-", f"bytes={2 * site.cut}-"]


def test_attempts_that_bring_much_do_not_count_as_failures(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = serve(site, tar_of(FILES))
    monkeypatch.setattr(module, "GOOD_ATTEMPT", 2000)
    site.cut = 2000
    assert contents(get(archive, tmp_path)) == FILES
    assert len(site.requests) > module.ATTEMPTS


def test_a_weak_etag_is_no_condition_and_the_date_is(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.etag, site.last_modified = 'W/"one"', "Wed, 21 Oct 2015 07:28:00 GMT"
    site.cut = len(site.content) // 2 + 1
    assert contents(get(archive, tmp_path)) == FILES
    assert site.requests[1]["If-Range"] == site.last_modified


def test_a_server_that_ignores_ranges_is_asked_from_the_beginning(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.knows_ranges = False
    (tmp_path / "set.tar.part").write_bytes(site.content[:20_000])
    assert contents(get(archive, tmp_path)) == FILES
    assert len(site.requests) == 1


@pytest.mark.parametrize("knows_if_range", [True, False])
@pytest.mark.parametrize(
    ("etag", "more"), [('"two"', 0), ('"two"', 30_000), (None, 30_000)], ids=["etag", "etag, size", "size"]
)
def test_a_file_that_changed_meanwhile_is_fetched_anew(
    site: Site, tmp_path: Path, knows_if_range: bool, etag: str | None, more: int
) -> None:
    site.knows_if_range = knows_if_range
    new_files = {
        "bottle/train/good/000.png": b"b" * 3000,
        "new.png": os.urandom(50_000 + more),
        "readme.txt": b"bye",
    }
    new = tar_of(new_files)
    archive = serve(site, new)
    site.content, site.cut = tar_of(FILES), 1000
    assert (len(new) == len(site.content)) == (more == 0)
    refusal(archive, tmp_path)
    site.content, site.cut, site.etag = new, None, etag
    assert contents(get(archive, tmp_path)) == new_files


def test_a_partial_file_longer_than_the_whole_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    (tmp_path / "set.tar.part").write_bytes(bytes(len(site.content) + 5))
    assert contents(get(archive, tmp_path)) == FILES
    assert site.ranges[1:] == [None]


def test_a_whole_partial_file_needs_no_server(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    (tmp_path / "set.tar.part").write_bytes(site.content)
    (tmp_path / "set.tar.part.json").write_text(json.dumps({"url": site.url, "size": len(site.content)}))
    assert contents(get(archive, tmp_path)) == FILES
    assert site.requests == []


def test_a_server_that_tells_no_length_is_enough(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.tells_length = False
    assert contents(get(archive, tmp_path)) == FILES


@pytest.mark.parametrize("note", ["", "[]", '{"size": "many"}', "\0\0"])
def test_a_damaged_note_about_the_partial_file_does_no_harm(site: Site, tmp_path: Path, note: str) -> None:
    archive = serve(site, tar_of(FILES))
    (tmp_path / "set.tar.part").write_bytes(site.content[:20_000])
    (tmp_path / "set.tar.part.json").write_text(note)
    assert contents(get(archive, tmp_path)) == FILES


# Servers that fail


def test_a_server_in_trouble_is_asked_again(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.failures = [503, 500, 429]
    assert contents(get(archive, tmp_path)) == FILES


def test_a_server_that_stays_in_trouble_is_given_up(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.failures = [500] * 100
    assert "500" in refusal(archive, tmp_path)
    assert len(site.requests) == module.ATTEMPTS


def test_a_missing_file_is_not_asked_for_again_and_the_partial_file_stays(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    (tmp_path / "set.tar.part").write_bytes(site.content[:20_000])
    site.failures = [404]
    message = refusal(archive, tmp_path)
    assert "404" in message
    assert archive.homepage in message
    assert len(site.requests) == 1
    assert (tmp_path / "set.tar.part").stat().st_size == 20_000


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/set.tar", "gopher://127.0.0.1/set.tar", "nonsense"])
def test_an_address_without_a_server_is_one_line(site: Site, tmp_path: Path, url: str) -> None:
    assert url in refusal(serve(site, tar_of(FILES)), tmp_path, url=url)


def test_a_wrong_checksum_is_told_and_the_file_moved_aside(site: Site, tmp_path: Path) -> None:
    good = serve(site, tar_of(FILES))
    archive = dataclasses.replace(good, sha256="0" * 64)
    message = refusal(archive, tmp_path)
    assert "0" * 64 in message
    assert good.sha256 in message
    assert not (tmp_path / "set").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"set.tar.bad"}
    assert contents(get(good, tmp_path)) == FILES


# Room


def test_a_file_larger_than_the_disk_is_refused_before_a_byte_is_written(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    site.claims = 1 << 60
    assert "free" in refusal(archive, tmp_path)
    assert not (tmp_path / "set.tar.part").exists()


LIMITED = """
import json, resource, sys
from lriad.data.download import Archive, download_archive
from lriad.errors import LriadError

limit, directory, archive = int(sys.argv[1]), sys.argv[2], Archive(**json.loads(sys.argv[3]))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    download_archive(archive, directory, accept_licence=True, progress=False)
except LriadError as error:
    print(error)
    sys.exit(7)
"""


def run_limited(archive: Archive, directory: Path, limit: int) -> str:
    """What a download says in a process that may write `limit` bytes a file: a real 'File too large'."""
    command = [
        sys.executable,
        "-c",
        LIMITED,
        str(limit),
        str(directory),
        json.dumps(dataclasses.asdict(archive)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 7, done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_disk_that_fills_while_downloading_keeps_what_has_come(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    message = run_limited(archive, tmp_path, 30_000)
    assert "no room" in message
    have = (tmp_path / "set.tar.part").stat().st_size
    assert 0 < have <= 30_000
    assert contents(get(archive, tmp_path)) == FILES
    assert site.ranges == [None, f"bytes={have}-"]


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_disk_that_fills_while_extracting_leaves_no_half_data_set(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of({"zeros.png": bytes(1 << 20)}, "w:xz"))
    assert "no room" in run_limited(archive, tmp_path, 1 << 19)
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar"]
    assert contents(get(archive, tmp_path)) == {"zeros.png": bytes(1 << 20)}
    assert len(site.requests) == 1


def test_a_file_where_the_folder_should_be_is_one_line(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "choose a folder" in refusal(serve(site, tar_of(FILES)), tmp_path / "file")


# Extraction

UNSAFE_TARS = {
    "parent": member("../escaped.txt", size=4),
    "parent inside": member("bottle/../../escaped.txt", size=4),
    "absolute": member("/tmp/escaped.txt", size=4),
    "backslash": member("..\\escaped.txt", size=4),
    "drive": member("C:\\escaped.txt", size=4),
    "parent folder": member("../escaped.txt", tarfile.DIRTYPE),
    "symlink": member("link", tarfile.SYMTYPE, link="../escaped.txt"),
    "absolute symlink": member("link", tarfile.SYMTYPE, link="/etc/passwd"),
    "hard link": member("link", tarfile.LNKTYPE, link="../escaped.txt"),
    "fifo": member("pipe", tarfile.FIFOTYPE),
    "device": member("null", tarfile.CHRTYPE),
}


def assert_nothing_unpacked(directory: Path) -> None:
    """Only the archive lies where the data set should, and nothing beside the folder."""
    assert [path.name for path in directory.iterdir()] == ["set.tar"]
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]
    assert not Path("/tmp/escaped.txt").exists()


@pytest.mark.parametrize("unsafe", UNSAFE_TARS.values(), ids=UNSAFE_TARS)
def test_a_tar_member_that_climbs_out_is_named_and_nothing_is_written(
    site: Site, tmp_path: Path, unsafe: tarfile.TarInfo
) -> None:
    archive = serve(site, tar_with(unsafe))
    assert repr(unsafe.name) in refusal(archive, tmp_path / "data")
    assert_nothing_unpacked(tmp_path / "data")


def test_a_file_behind_a_symlink_is_not_written(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_with(member("a", tarfile.SYMTYPE, link=".."), member("a/escaped.txt", size=4)))
    assert "'a'" in refusal(archive, tmp_path / "data")
    assert_nothing_unpacked(tmp_path / "data")


@pytest.mark.parametrize("name", ["../escaped.txt", "a/../../escaped.txt", "/tmp/escaped.txt", "..\\escaped.txt"])
def test_a_zip_member_that_climbs_out_is_named_and_nothing_is_written(site: Site, tmp_path: Path, name: str) -> None:
    archive = serve(site, zip_of({"good.png": b"good", name: b"bad"}))
    assert repr(name) in refusal(archive, tmp_path / "data")
    assert_nothing_unpacked(tmp_path / "data")


def test_a_link_in_a_zip_is_refused(site: Site, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        link = zipfile.ZipInfo("link")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "../escaped.txt")
    assert "'link'" in refusal(serve(site, buffer.getvalue()), tmp_path / "data")
    assert_nothing_unpacked(tmp_path / "data")


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b.png", "C:", " "]), min_size=1), st.sampled_from("/\\"))
def test_no_accepted_name_leaves_the_folder(parts: list[str], separator: str) -> None:
    name = separator.join(parts)
    try:
        module._check_member(module._Member(name, 0, "file", lambda folder: None), Path("set.tar"))
    except LriadError:
        return
    base = Path("/base/folder")
    assert Path(os.path.normpath(base / name.replace("\\", "/"))).is_relative_to(base)


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_an_archive_that_unpacks_without_end_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: object
) -> None:
    archive = serve(site, pack({f"{i}.png": bytes(1000) for i in range(20)}))  # type: ignore[operator]
    with monkeypatch.context() as patch:
        patch.setattr(module, "MAX_MEMBERS", 10)
        assert "more than 10" in refusal(archive, tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr(module, "MAX_UNPACKED", 10_000)
        assert "10000 bytes" in refusal(archive, tmp_path / "data")
    assert_nothing_unpacked(tmp_path / "data")


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"<html>not an archive</html>",
        tar_of(FILES, "w:xz")[:-20_000],
        zip_of(FILES)[:-100],
        tar_of(FILES)[:9_000],
    ],
    ids=["empty", "html", "cut xz", "cut zip", "cut tar"],
)
def test_what_cannot_be_unpacked_is_one_line(site: Site, tmp_path: Path, packed: bytes) -> None:
    assert "set.tar" in refusal(serve(site, packed), tmp_path)
    assert not (tmp_path / "set").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from lriad.data.download import Archive, download_archive

def killed(root):
    os.kill(os.getpid(), signal.SIGKILL)

archive = Archive("set", "A set", sys.argv[1], sys.argv[2], "set.tar", "", "", "", "", samples=killed)
download_archive(archive, sys.argv[3], accept_licence=True, progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_extraction_leaves_no_data_set_and_the_next_call_makes_it(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    command = [sys.executable, "-c", KILLED, site.url, archive.sha256, str(tmp_path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert not (tmp_path / "set").exists()
    assert (tmp_path / ".set.extracting" / "readme.txt").exists()  # it was indeed in the middle
    (tmp_path / ".set.extracting" / "left over.txt").write_text("")
    assert contents(get(archive, tmp_path)) == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"set", "set.tar"}
    assert len(site.requests) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX")
def test_two_downloads_of_one_set_do_not_meet(site: Site, tmp_path: Path) -> None:
    import fcntl

    archive = serve(site, tar_of(FILES))
    with (tmp_path / ".set.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another download" in refusal(archive, tmp_path)
    assert contents(get(archive, tmp_path)) == FILES


# The data sets


def test_nothing_is_fetched_before_the_licence_is_accepted(site: Site, tmp_path: Path) -> None:
    archive = serve(site, tar_of(FILES))
    with pytest.raises(LriadError, match=r"CC0 1\.0.*--accept-licence"):
        download_archive(archive, tmp_path / "data", accept_licence=False)
    assert site.requests == []
    assert not (tmp_path / "data").exists()


def test_an_unknown_name_gets_the_nearest_right_one(tmp_path: Path) -> None:
    with pytest.raises(LriadError, match="did you mean 'mvtec'"):
        download("MVTek", tmp_path, accept_licence=True)
    with pytest.raises(LriadError, match="there are mvtec, visa, loco, btad, kolektorsdd"):
        download("zzzzzz", tmp_path, accept_licence=True)


def test_a_known_name_is_held_to_its_checksum(site: Site, tmp_path: Path) -> None:
    serve(site, tar_of(FILES))
    with pytest.raises(LriadError, match=ARCHIVES["visa"].sha256):
        download("visa", tmp_path, accept_licence=True, url=site.url, progress=False)
    assert not (tmp_path / "visa").exists()


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES)
def test_every_data_set_is_told_in_full(archive: Archive) -> None:
    assert find_archive(archive.name) is archive
    assert archive.url.startswith("https://")
    assert re.fullmatch("[0-9a-f]{64}", archive.sha256)
    assert archive.filename != archive.name
    notice = archive.notice()
    assert all(text in notice for text in (archive.licence, archive.licence_url, archive.homepage, archive.citation))
    assert "check the homepage" in notice


def mask_bytes(value: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (4, 4), value).save(buffer, "BMP")
    return buffer.getvalue()


LAYOUTS = {
    "mvtec": {
        "metal_nut/train/good/000.png": ("normal", "metal nut", "train", None),
        "metal_nut/test/bent/000.png": ("defect", "metal nut", "test", None),
        "metal_nut/ground_truth/bent/000_mask.png": None,
        "license.txt": None,
    },
    "visa": {
        "candle/Data/Images/Normal/0.JPG": ("normal", "candle", None, None),
        "candle/Data/Images/Anomaly/0.JPG": ("defect", "candle", None, None),
        "candle/Data/Masks/Anomaly/0.png": None,
    },
    "loco": {
        "screw_bag/train/good/000.png": ("normal", "screw bag", "train", None),
        "screw_bag/test/logical_anomalies/000.png": ("defect", "screw bag", "test", None),
        "screw_bag/ground_truth/logical_anomalies/000/000.png": None,
        "screw_bag/defects_config.json": None,
    },
    "btad": {
        "BTech_Dataset_transformed/01/train/ok/0000.bmp": ("normal", "part", "train", None),
        "BTech_Dataset_transformed/01/test/ok/0001.bmp": ("normal", "part", "test", None),
        "BTech_Dataset_transformed/01/test/ko/0002.bmp": ("defect", "part", "test", None),
        "BTech_Dataset_transformed/01/ground_truth/ko/0002.png": None,
        "__MACOSX/BTech_Dataset_transformed/01/test/ko/._0002.bmp": None,
    },
    "kolektorsdd": {
        "kos01/Part0.jpg": ("normal", "electrical commutator", None, "kos01"),
        "kos01/Part0_label.bmp": None,
        "kos02/Part5.jpg": ("defect", "electrical commutator", None, "kos02"),
        "kos02/Part5_label.bmp": None,
        "__MACOSX/kos02/._Part5.jpg": None,
        "__MACOSX/kos02/._Part5_label.bmp": None,
    },
}
"""What each data set looks like, and what its loader should say of the images: label, object, side, group."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_downloaded_data_set_is_read_by_its_spec(site: Site, tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    packed = zip_of({file: mask_bytes(0 if "kos01" in file else 255) for file in layout})
    made = serve(site, packed)
    archive = dataclasses.replace(ARCHIVES[name], url=made.url, sha256=made.sha256)
    samples = load_dataset(archive.spec(get(archive, tmp_path)))
    found = {s.id: (s.label, s.object_name, s.split, s.group) for s in samples}
    assert found == {file.removeprefix("BTech_Dataset_transformed/"): truth for file, truth in layout.items() if truth}
    assert all(Path(s.image).is_file() for s in samples)
    assert all((s.mask is not None and Path(s.mask).exists()) == (s.label == "defect") for s in samples)


def test_an_archive_without_the_expected_folder_is_refused(site: Site, tmp_path: Path) -> None:
    archive = serve(site, zip_of({"other.txt": b""}), inner="BTech_Dataset_transformed")
    assert "BTech_Dataset_transformed" in refusal(archive, tmp_path)
    assert not (tmp_path / "set").exists()
