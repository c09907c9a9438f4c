"""Fetching one large file over HTTP: goes on where it stopped, retries a dropped connection, checks the SHA-256 sum.

Written here because neither torchvision's routines nor pooch go on with a partial file, and the training set of COCO
has 19 GB.
"""

import errno
import hashlib
import socket
import time
from collections.abc import Callable
from http.client import HTTPException
from io import FileIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from fastnst.errors import DownloadError

Announce = Callable[[str], None]
"""Called with one line for the user."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

CheckRoom = Callable[[int, int], None]
"""Called with the bytes to come and the bytes in all before any is written; may raise."""

CHUNK_BYTES = 1 << 20

TIMEOUT_S = 30.0
"""How long a silent server is waited for."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses before the attempts that follow a failed one; one that got further starts them anew."""

OFFLINE_ATTEMPTS = 2
"""Attempts where the server's name is not known and nothing has arrived: a computer without a network gains nothing by
waiting."""

_TRANSIENT_STATUS = {408, 416, 425, 429}
"""Client errors (4xx) that another attempt may cure."""


def fetch(url: str, target: Path, *, announce: Announce, progress: Progress, check_room: CheckRoom) -> None:
    """Download `url` to `target`, by way of `target`.part, which a later call goes on with.

    Raises DownloadError when the attempts are used up, the server refuses or the disk is full.
    """
    part = target.with_name(f"{target.name}.part")
    furthest = bytes_in(part)
    failures = 0
    while True:
        try:
            _receive(url, part, progress, check_room)
            break
        except (OSError, HTTPException) as error:
            have = bytes_in(part)
            failures = 1 if have > furthest else failures + 1
            furthest = max(furthest, have)
            reason = _reason(error)
            attempts = OFFLINE_ATTEMPTS if _is_offline(error) and not have else len(PAUSES_S) + 1
            if _is_final(error) or failures >= attempts:
                further = f" to go on at byte {have:,}" if have else ""
                raise DownloadError(f"{url}: {reason}; run the command again{further}") from error
            pause_s = PAUSES_S[failures - 1]
            announce(f"Download interrupted ({reason}); going on in {pause_s:g} s.")
            time.sleep(pause_s)
    part.replace(target)


def check_sha256(path: Path, sha256: str, url: str) -> None:
    """Compare a file with its SHA-256 sum; one that differs is removed, with a DownloadError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise DownloadError(
            f"{url}: the file has SHA-256 {found}, expected {sha256}; removed it, run the command again to fetch it "
            "anew"
        )


def bytes_in(path: Path) -> int:
    """Size of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _receive(url: str, part: Path, progress: Progress, check_room: CheckRoom) -> None:
    """Make one attempt; raises OSError or HTTPException when the connection fails or ends too early."""
    have = bytes_in(part)
    headers = {"User-Agent": "fastnst", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # nothing was missing
        part.unlink()  # longer than the file on the server: not its beginning
        raise
    with response:
        done = have if response.status == 206 else 0  # 200: the server sends the whole file
        total = done + response.length if response.length is not None else None
        if total is not None:
            check_room(total - done, total)
        with _open(part, "ab" if done else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                _write(file, chunk, part)
                done += len(chunk)
                progress(done, total or done)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended at byte {done:,} of {total:,}")


def _open(part: Path, mode: str) -> FileIO:
    """Open without a buffer, so that what has arrived is on the disk whatever comes next."""
    try:
        return FileIO(part, mode)
    except OSError as error:
        raise _cannot_write(part, error) from error


def _write(file: FileIO, chunk: bytes, part: Path) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _cannot_write(part, error) from error


def _cannot_write(part: Path, error: OSError) -> DownloadError:
    return DownloadError(f"{part}: cannot be written ({error.strerror}); make room, then run the command again")


def _is_final(error: Exception) -> bool:
    return isinstance(error, HTTPError) and 400 <= error.code < 500 and error.code not in _TRANSIENT_STATUS


def _is_offline(error: Exception) -> bool:
    reason = getattr(error, "reason", error)
    return isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) == errno.ENETUNREACH


def _reason(error: Exception) -> str:
    text = str(getattr(error, "reason", "") or error) or type(error).__name__
    return f"the server answered {error.code} {text}" if isinstance(error, HTTPError) else text
