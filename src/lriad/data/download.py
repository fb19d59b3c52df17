"""Public data sets: licence first, a resumable download, SHA-256, an extraction that cannot climb out.

`download("mvtec", "datasets", accept_licence=True)` leaves `datasets/mvtec`, whole or not at all. On the way:

    mvtec_anomaly_detection.tar.xz.part       what has come so far; continued with an HTTP Range request
    mvtec_anomaly_detection.tar.xz.part.json  how the server calls this version of the file
    mvtec_anomaly_detection.tar.xz            whole; its SHA-256 is compared before it is opened
    .mvtec.extracting/                        renamed to `mvtec` when the last member is written

An archive that somebody has put there by hand is used and left where it is; a downloaded one is removed
once it is extracted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import re
import shutil
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any

# pooch fetches and verifies, but cannot continue a partial file: with archives of 5 GB that decides.
import requests
import urllib3
from tqdm import tqdm

from lriad._version import __version__
from lriad.data._files import nearest
from lriad.data.sample import Sample
from lriad.errors import LriadError

ATTEMPTS = 5  # failures in a row before giving up
FIRST_WAIT = 1.0  # seconds before the second attempt; doubles with each further failure
GOOD_ATTEMPT = 8 << 20  # bytes; an attempt that brought at least these starts the count of failures afresh
TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
CHUNK = 1 << 20  # bytes
MAX_MEMBERS = 200_000  # the largest of the data sets has some 10,000
MAX_UNPACKED = 64 << 30  # bytes; the largest of the data sets has some 6 GB

_MARKER = ".lriad.json"
_MANIFEST = "samples.jsonl"
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_READABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,  # an encrypted zip member; NotImplementedError, a compression that zipfile lacks
)


@dataclass(frozen=True)
class Archive:
    """One data set as its authors publish it.

    Attributes:
        name: What the user types; also the folder that the data set gets.
        title: What its authors call it.
        url: Address of the archive (tar, with any of its compressions, or zip).
        sha256: Hexadecimal SHA-256 of the archive.
        filename: Name of the archive on disk.
        licence: The licence as far as known here.
        licence_url: The licence's text.
        homepage: The authors' page, which decides where it disagrees with `licence`.
        citation: The paper to cite.
        size: Download size in words; None where not known.
        loader: The kind of spec that reads the folder, such as `mvtec`.
        inner: Folder inside the archive that becomes the data set's folder; '' for the whole.
        samples: Lists the samples of a folder that no loader reads as it is, with paths relative to it; they
            are written into it as `samples.jsonl`, and the spec names that.
    """

    name: str
    title: str
    url: str
    sha256: str
    filename: str
    licence: str
    licence_url: str
    homepage: str
    citation: str
    size: str | None = None
    loader: str = "mvtec"
    inner: str = ""
    samples: Callable[[Path], Iterator[Sample]] | None = None

    def spec(self, root: Path | str) -> str:
        """The data spec of the extracted folder, for `lriad.data.load_dataset`: `mvtec:datasets/mvtec`."""
        return f"jsonl:{Path(root) / _MANIFEST}" if self.samples else f"{self.loader}:{root}"

    def notice(self) -> str:
        """What a user must have seen before the download: several lines of plain text."""
        return "\n".join(
            [
                self.title + (f" ({self.size} to download)" if self.size else ""),
                f"  licence   {self.licence}",
                f"            {self.licence_url}",
                "            as far as known here: check the homepage, which decides",
                f"  homepage  {self.homepage}",
                f"  cite      {self.citation}",
            ]
        )


def find_archive(name: str) -> Archive:
    """The archive of that name; LriadError with the nearest right name for any other."""
    if name in ARCHIVES:
        return ARCHIVES[name]
    hint = nearest(name.lower(), ARCHIVES)
    raise LriadError(f"data set {name!r} is not known; {hint}there are {', '.join(ARCHIVES)}")


def download(
    name: str, directory: Path | str, *, accept_licence: bool, url: str | None = None, progress: bool = True
) -> Path:
    """`download_archive` for a name in `ARCHIVES`: `mvtec`, `visa`, `loco`, `btad` or `kolektorsdd`."""
    return download_archive(find_archive(name), directory, accept_licence=accept_licence, url=url, progress=progress)


def download_archive(
    archive: Archive,
    directory: Path | str,
    *,
    accept_licence: bool,
    url: str | None = None,
    progress: bool = True,
) -> Path:
    """Download, verify and extract `archive` into `directory/<archive.name>`, or find it there already whole.

    Args:
        archive: What to get.
        directory: Where to; made if missing.
        accept_licence: Whether the user has seen `archive.notice()` and accepts the licence.
        url: Another address of the same file (a mirror); the SHA-256 stays the pinned one.
        progress: Show progress bars.

    Returns:
        The data set's folder; `archive.spec(folder)` is its data spec.

    Raises:
        LriadError: Licence not accepted, nothing to be had at the address, wrong SHA-256, unsafe or
            unreadable archive, no room. What was downloaded is kept, and the next call goes on from there.
    """
    if not accept_licence:
        raise LriadError(
            f"{archive.title} is under {archive.licence}, {archive.licence_url}: "
            "read it (and its homepage), then accept it with --accept-licence (accept_licence=True)"
        )
    directory = Path(directory)
    target = directory / archive.name
    packed = directory / archive.filename
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _only_one(directory / f".{archive.name}.lock"):
            if not _is_complete(target, archive):
                by_hand = packed.exists()
                if not by_hand:
                    _fetch(archive, url or archive.url, packed, progress)
                _verify(packed, archive)
                _extract(packed, target, archive, progress)
                if not by_hand:
                    packed.unlink()
    except OSError as error:
        where = error.filename or directory
        if error.errno in _NO_ROOM:
            raise LriadError(
                f"no room to write in {where} ({error.strerror}): free some space or choose another folder, "
                "then run again; what was downloaded is kept"
            ) from error
        raise LriadError(
            f"cannot read or write {where} ({error.strerror or error}): choose a folder that can be written"
        ) from error
    return target


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold `lock`: two downloads at once would write into the same partial file. A killed holder frees it."""
    if sys.platform == "win32":  # no flock there; the SHA-256 still catches a mixed file
        yield
        return
    import fcntl

    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LriadError(f"another download of this is at work in {lock.parent}: wait for it") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _is_complete(target: Path, archive: Archive) -> bool:
    """Whether `target` holds this very archive; LriadError where it holds anything else."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    if _read_json(target / _MARKER).get("sha256") == archive.sha256:
        return True
    raise LriadError(f"{target} is not from this archive: move it away or choose another folder")


def _read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty where there is none or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


# Download


class _Dropped(Exception):
    """This attempt failed; the next may not."""


def _fetch(archive: Archive, url: str, packed: Path, progress: bool) -> None:
    """Download `url` to `packed` by way of `packed.part`, going on where an earlier attempt stopped."""
    part = packed.with_name(packed.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _fetch_once(archive, url, packed, part, progress)
            break
        except requests.exceptions.SSLError as error:  # a ConnectionError, but no passing one
            raise LriadError(f"no trusted connection to {url}: {error}") from error
        except (
            _Dropped,
            requests.ConnectionError,
            requests.Timeout,
            urllib3.exceptions.HTTPError,  # what reading the body raises
        ) as error:
            failures = 1 if _size(part) - before >= GOOD_ATTEMPT else failures + 1
            if failures == ATTEMPTS:
                have = _size(part)
                kept = f"{_in_words(have)} kept in {part}, run again to resume" if have else "try later"
                raise LriadError(f"{url}: {_reason(error)}, {ATTEMPTS} attempts failed; {kept}") from error
            time.sleep(FIRST_WAIT * 2 ** (failures - 1))
        except requests.RequestException as error:
            raise LriadError(f"cannot get {url}: {error}") from error
    part.replace(packed)
    _sidecar(part).unlink(missing_ok=True)


def _fetch_once(archive: Archive, url: str, packed: Path, part: Path, progress: bool) -> None:
    """One request: the whole file, or the rest of it where `part` holds a beginning."""
    known = _read_json(_sidecar(part))
    validator = known.get("validator") if known.get("url") == url else None
    have = _size(part)
    if have and have == known.get("size"):
        return
    # identity: the bytes of the file itself are counted, continued and hashed.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"lriad/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status = response.status_code
        if status in _TRANSIENT_STATUS:
            raise _Dropped(f"the server answered {status} {response.reason}")
        if status not in (200, 206, 416):
            raise LriadError(
                f"{url} answered {status} {response.reason}: get {archive.filename} from {archive.homepage}, "
                f"put it at {packed} and run again"
            )
        if have and not _continues(response, have, known.get("size"), validator):
            part.unlink()  # of another version, or the server ignores ranges: from the beginning
            have = 0
        if status != 200 and not have:
            raise _Dropped("the file has changed on the server")
        length = response.headers.get("Content-Length", "")
        size = have + int(length) if length.isdecimal() else None
        if size is not None:
            # Images hardly shrink: unpacked they take at least as much again.
            _check_room(part.parent, 2 * size - have, archive)
        state = {"url": url, "validator": _validator(response), "size": size}
        _sidecar(part).write_text(json.dumps(state), encoding="utf-8")
        with part.open("ab") as file, _bar(archive.filename, size, progress, initial=have) as bar:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
    if size is not None and _size(part) < size:  # urllib3 before 2 does not notice
        raise _Dropped(f"the connection closed {_in_words(size - _size(part))} before the end")


def _continues(response: requests.Response, have: int, size: int | None, validator: str | None) -> bool:
    """Whether the answer goes on exactly after the first `have` bytes of the same version of the file."""
    place = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status_code != 206 or place is None or int(place[1]) != have:
        return False
    # A server may know Range and not If-Range: look for ourselves.
    same_size = size is None or place[2] in ("*", str(size))
    now = _validator(response)
    return same_size and (validator is None or now is None or now == validator)


def _validator(response: requests.Response) -> str | None:
    """How the server calls this version of the file. If-Range takes no weak ETag (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _sidecar(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_room(directory: Path, needed: int, archive: Archive) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise LriadError(
            f"{archive.filename} and its content need {_in_words(needed)} more, {directory} has "
            f"{_in_words(free)} free: free some space or choose another folder"
        )


def _reason(error: Exception) -> str:
    """The cause in a few words: the libraries' own texts hold the address again and nested exceptions."""
    if isinstance(error, _Dropped):
        return str(error)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "the server is silent"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return "the connection was lost"


def _in_words(size: int) -> str:
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size} bytes"


def _bar(title: str, total: int | None, progress: bool, initial: int = 0) -> tqdm:
    return tqdm(desc=title, total=total, initial=initial, unit="B", unit_scale=True, disable=not progress, leave=False)


def _verify(packed: Path, archive: Archive) -> None:
    """Compare the SHA-256; a wrong file is moved out of the way, so that the next call starts afresh."""
    with packed.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got == archive.sha256:
        return
    aside = packed.with_name(packed.name + ".bad")
    packed.replace(aside)
    raise LriadError(
        f"wrong SHA-256 of {archive.filename}: expected {archive.sha256}, got {got} (moved to {aside}); "
        f"run again, and if it stays wrong ask at {archive.homepage}"
    )


# Extraction


@dataclass(frozen=True)
class _Member:
    name: str
    size: int  # bytes, unpacked
    kind: str  # "file", "folder" or what else it is
    extract: Callable[[Path], object]


def _extract(packed: Path, target: Path, archive: Archive, progress: bool) -> None:
    """Unpack beside `target` and rename when complete: a killed extraction leaves no half data set."""
    stage = target.with_name(f".{target.name}.extracting")
    shutil.rmtree(stage, ignore_errors=True)  # of a killed call
    try:
        stage.mkdir()
        _unpack(packed, stage, progress)
        root = stage / archive.inner
        if not root.is_dir():
            raise LriadError(f"{packed} holds no folder {archive.inner}: please report this")
        if archive.samples:
            lines = [json.dumps(asdict(sample)) + "\n" for sample in archive.samples(root)]
            (root / _MANIFEST).write_text("".join(lines), encoding="utf-8")
        marker = {"name": archive.name, "sha256": archive.sha256, "licence": archive.licence}
        (root / _MARKER).write_text(json.dumps(marker), encoding="utf-8")
        root.replace(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _unpack(packed: Path, folder: Path, progress: bool) -> None:
    """Write every member of a tar or zip under `folder`; LriadError at the first unsafe one."""
    count = total = 0
    with packed.open("rb") as file, _bar("extracting", _size(packed), progress) as bar:
        try:
            for member in _members(file, packed):
                count += 1
                total += member.size
                _check_member(member, packed)
                if count > MAX_MEMBERS or total > MAX_UNPACKED:
                    raise LriadError(
                        f"{packed} unpacks to more than {MAX_MEMBERS} members or {_in_words(MAX_UNPACKED)}: "
                        "no such data set, nothing is unpacked"
                    )
                member.extract(folder)
                bar.update(file.tell() - bar.n)
        except _NOT_READABLE as error:
            raise LriadError(f"cannot unpack {packed} ({error}): please report this") from error


def _members(file: IO[bytes], packed: Path) -> Iterator[_Member]:
    """The members of a tar or a zip, told by content. Tar first: a tar may well end in a stored zip."""
    try:
        tar = tarfile.open(fileobj=file)  # noqa: SIM115
    except tarfile.ReadError:
        if not zipfile.is_zipfile(file):
            raise LriadError(f"{packed} is neither tar nor zip: please report this") from None
        with zipfile.ZipFile(file) as packed_zip:
            yield from map(partial(_zip_member, packed_zip), packed_zip.infolist())
    else:
        with tar:
            yield from map(partial(_tar_member, tar), tar)


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    kind = "file" if info.isreg() else "folder" if info.isdir() else "link or device"
    return _Member(info.name, info.size, kind, lambda folder: tar.extract(info, folder, filter="data"))


def _zip_member(packed_zip: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    # The upper half is the Unix mode where the zip was made on Unix: 0o10 is a regular file, 0o04 a folder.
    unix_type = info.external_attr >> 28
    kind = "folder" if info.is_dir() else "file" if unix_type in (0, 0o10) else "link or device"
    return _Member(info.filename, info.file_size, kind, lambda folder: packed_zip.extract(info, folder))


def _check_member(member: _Member, packed: Path) -> None:
    """Refuse what could write outside the folder.

    Links are refused wherever they point: image sets need none, and tarfile's own check of their targets
    has been got round (CVE-2025-4517).
    """
    path = PureWindowsPath(member.name)  # the strictest reading: takes both slashes, knows drives
    if path.anchor or ".." in path.parts or "\0" in member.name:
        raise LriadError(f"{packed}: member {member.name!r} climbs out of the folder, nothing is unpacked")
    if member.kind not in ("file", "folder"):
        raise LriadError(f"{packed}: member {member.name!r} is a {member.kind}, nothing is unpacked")


# The data sets


def _kolektorsdd_samples(root: Path) -> Iterator[Sample]:
    """KolektorSDD: `kosNN/PartN.jpg` with `PartN_label.bmp`, which is black where there is no defect.

    The photographs of one kosNN show one commutator: they are a group. There are no official sides.
    """
    from PIL import Image

    for mask in sorted(root.rglob("*_label.bmp")):
        image = mask.with_name(mask.name.replace("_label.bmp", ".jpg"))
        if mask.name.startswith(".") or not image.is_file():  # macOS's companions
            continue
        with Image.open(mask) as picture:
            defect = picture.convert("L").getbbox() is not None
        path = image.relative_to(root).as_posix()
        yield Sample(
            id=path,
            image=path,
            label="defect" if defect else "normal",
            category="commutator",
            object_name="electrical commutator",
            group=image.parent.name,
            mask=mask.relative_to(root).as_posix() if defect else None,
            dataset="kolektorsdd",
        )


_NON_COMMERCIAL = "CC BY-NC-SA 4.0: credit the authors, no commercial use, share alike"
_NON_COMMERCIAL_URL = "https://creativecommons.org/licenses/by-nc-sa/4.0/"

# Addresses and SHA-256 as anomalib pins them.
ARCHIVES: dict[str, Archive] = {
    archive.name: archive
    for archive in (
        Archive(
            name="mvtec",
            title="MVTec AD",
            url="https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
            "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
            sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
            filename="mvtec_anomaly_detection.tar.xz",
            licence=_NON_COMMERCIAL,
            licence_url=_NON_COMMERCIAL_URL,
            homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
            citation="Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 129(4), 2021",
            size="about 5 GB",
        ),
        Archive(
            name="visa",
            title="VisA",
            url="https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
            sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
            filename="VisA_20220922.tar",
            licence="CC BY 4.0: credit the authors",
            licence_url="https://creativecommons.org/licenses/by/4.0/",
            homepage="https://github.com/amazon-science/spot-diff",
            citation="Zou et al., SPot-the-Difference Self-Supervised Pre-training, ECCV 2022",
            size="about 2 GB",
            loader="visa",
        ),
        Archive(
            name="loco",
            title="MVTec LOCO AD",
            url="https://www.mydrive.ch/shares/48237/1b9106ccdfbb09a0c414bd49fe44a14a/download/"
            "430647091-1646842701/mvtec_loco_anomaly_detection.tar.xz",
            sha256="9e7c84dba550fd2e59d8e9e231c929c45ba737b6b6a6d3814100f54d63aae687",
            filename="mvtec_loco_anomaly_detection.tar.xz",
            licence=_NON_COMMERCIAL,
            licence_url=_NON_COMMERCIAL_URL,
            homepage="https://www.mvtec.com/company/research/datasets/mvtec-loco",
            citation="Bergmann et al., Beyond Dents and Scratches, IJCV 130, 2022",
        ),
        Archive(
            name="btad",
            title="BTAD (beanTech Anomaly Detection)",
            url="https://avires.dimi.uniud.it/papers/btad/btad.zip",
            sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
            filename="btad.zip",
            licence="CC BY-SA 4.0 on the authors' page; others pass it on as CC BY-NC-SA 4.0, non-commercial",
            licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
            homepage="https://github.com/pankajmishra000/VT-ADL",
            citation="Mishra et al., VT-ADL: A Vision Transformer Network for "
            "Image Anomaly Detection and Localization, ISIE 2021",
            inner="BTech_Dataset_transformed",
        ),
        Archive(
            name="kolektorsdd",
            title="KolektorSDD (Kolektor Surface-Defect Dataset)",
            url="https://go.vicos.si/kolektorsdd",
            sha256="65dc621693418585de9c4467d1340ea7958a6181816f0dc2883a1e8b61f9d4dc",
            filename="KolektorSDD.zip",
            licence=_NON_COMMERCIAL,
            licence_url=_NON_COMMERCIAL_URL,
            homepage="https://www.vicos.si/resources/kolektorsdd/",
            citation="Tabernik et al., Segmentation-based deep-learning approach for surface-defect "
            "detection, J. Intelligent Manufacturing 31, 2020",
            samples=_kolektorsdd_samples,
        ),
    )
}
