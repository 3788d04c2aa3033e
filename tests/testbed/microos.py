"""Real openSUSE MicroOS images: what TESTBED_IMAGE means, and how an image gets into the cache and is trusted.

An image comes with two files beside it: IMAGE.sha256 with its checksum, and IMAGE.sha256.asc with a signature of that.
Nothing is used that they do not vouch for, whether it was downloaded or lay here.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import image
import openpgp
from vm import TestbedError

SERVER = "https://download.opensuse.org"
IMAGES = f"{SERVER}/tumbleweed/appliances/"
# The public key, on the image's server or a mirror of it; what it is worth is decided by the fingerprints
KEY = "/tumbleweed/repo/oss/repodata/repomd.xml.key"
PINNED = {
    "AD485664E901B867051AB15F35A2F86E29B700A4": "openSUSE, since 2023",
    "22C07BA534178CD02EFE22AAB88B2FD43DBDC284": "openSUSE, before 2023",
}
FORMATS = ("qcow2", "raw")
SMALL = 1 << 20  # more than a checksum, a signature or a key takes
ATTEMPTS = 5  # in a row that bring nothing
TIMEOUT = 60

CHECKSUM = re.compile(r"([0-9a-f]{64}) [ *](\S+)\n?")
# -16.0.0, -Snapshot20260912, -Build1.2, -Current: what differs between two builds of the same image
BUILD = re.compile(r"-(\d+(\.\d+)+|Snapshot\d+|Build\d+(\.\d+)*|Current)(?=[-.])")


def image_disk(wanted: str) -> Path:
    """The image, verified just now, in the cache, where nobody writes to it."""
    source = locate(wanted)
    checksum, name = trusted_checksum(source)
    disk = image.CACHE / "microos" / (checksum + Path(source).suffix)
    disk.parent.mkdir(parents=True, exist_ok=True)
    with image.locked(f"microos-{checksum}"):
        if disk.exists() and sha256(disk) != checksum:
            say(f"{disk} was damaged, it is fetched anew")
            disk.unlink()
        if not disk.exists():
            part = disk.with_suffix(".part")
            say(f"fetching {name} ...")
            fetch(source, part)
            if sha256(part) != checksum:
                part.unlink()
                raise TestbedError(f"{source} is refused: it does not have the signed checksum {checksum} of {name}. "
                                   "It was changed or damaged, or replaced by a newer one meanwhile: try again")
            check_disk(part, source)
            part.chmod(0o444)
            part.rename(disk)
    return disk


# --- what is meant -----------------------------------------------------------------------------------------------


def locate(wanted: str) -> str:
    """A URL as it is, a path made absolute, or the URL of an image that openSUSE's server has under this name."""
    if not wanted:
        raise TestbedError("no image: set TESTBED_IMAGE to a path, a URL, or a name in " + IMAGES)
    if is_url(wanted):
        source = wanted
    elif "/" in wanted or Path(wanted).exists():
        source = str(Path(wanted).absolute())
    else:
        source = IMAGES + wanted
    if Path(source).suffix[1:] not in FORMATS:
        raise TestbedError(f"{source} is no disk image that can be booted: its name has to end in .qcow2 or .raw")
    return source


def is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))


def same_image(wanted: str, signed: str) -> bool:
    """A name without a build stands for any build, but never for another kind of image."""
    return signed == wanted or BUILD.sub("", signed) == wanted.replace("-Current", "")


# --- why it is trusted -------------------------------------------------------------------------------------------


def trusted_checksum(source: str) -> tuple[str, str]:
    """What somebody with a pinned key signed to be the checksum and the full name of this image."""
    pinned = own_pins() or PINNED
    server = source if is_url(source) else SERVER
    key = os.environ.get("TESTBED_IMAGE_KEY") or urllib.parse.urljoin(server, KEY)
    with tempfile.TemporaryDirectory(prefix="testbed-image-") as work:
        files = {name: Path(work, name) for name in ("sha256", "sha256.asc", "key")}
        for name, origin in (("sha256", f"{source}.sha256"), ("sha256.asc", f"{source}.sha256.asc"), ("key", key)):
            files[name].write_bytes(small(origin))
        try:
            signature = openpgp.verify(files["sha256"], files["sha256.asc"], files["key"], pinned)
        except openpgp.SignatureError as error:
            raise TestbedError(f"{source} is refused, by {source}.sha256.asc and the key in {key}: {error}") from None
        text = files["sha256"].read_text(errors="replace")
    match = CHECKSUM.fullmatch(text)
    if not match:
        raise TestbedError(f"{source}.sha256 is refused: it has to be one line with a checksum and a name")
    name = os.path.basename(match[2])
    wanted = os.path.basename(source)
    if not same_image(wanted, name):
        raise TestbedError(f"{source} is refused: the signed checksum is that of another image, {name}. "
                           "If the image was renamed, name it and what lies beside it as it was")
    say(f"{name} was signed on {signature.date} with {signature.fingerprint} "
        f"({PINNED.get(signature.fingerprint, 'TESTBED_IMAGE_FINGERPRINT')})")
    return match[1], name


def own_pins() -> set[str]:
    """Fingerprints that count instead of openSUSE's, for images of one's own."""
    text = os.environ.get("TESTBED_IMAGE_FINGERPRINT", "")
    pins = {word.replace(" ", "").upper() for word in text.split(",") if word.strip()}
    for pin in pins:
        if not re.fullmatch(r"[0-9A-F]{40}", pin):
            raise TestbedError(f"TESTBED_IMAGE_FINGERPRINT: {pin} is no fingerprint, which has 40 hexadecimal digits")
    return pins


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_disk(disk: Path, source: str) -> None:
    """An image that takes data from other files is more than what the checksum vouches for."""
    about = json.loads(image.run("qemu-img", "info", "--output=json", "-f", Path(source).suffix[1:], disk,
                                 stdout=subprocess.PIPE).stdout)
    other = about.get("backing-filename") or about.get("format-specific", {}).get("data", {}).get("data-file")
    if other:
        disk.unlink()
        raise TestbedError(f"{source} is refused: it builds on {other}, which no checksum vouches for. "
                           "Convert it into one file with qemu-img convert, and sign that")


# --- how it comes here -------------------------------------------------------------------------------------------


def small(origin: str) -> bytes:
    """A file that is small, from here or from a server."""
    try:
        with urllib.request.urlopen(origin, timeout=TIMEOUT) if is_url(origin) else open(origin, "rb") as stream:
            content = stream.read(SMALL + 1)
    except (OSError, http.client.HTTPException) as error:
        raise TestbedError(f"{origin}, without which no image is trusted, cannot be read: {error}") from None
    if len(content) > SMALL:
        raise TestbedError(f"{origin} is refused: it is too large for a checksum, a signature or a key")
    return content


def fetch(source: str, part: Path) -> None:
    """A part that an earlier run left is of the same checksum, as its name says: only the rest is downloaded."""
    if not is_url(source):
        if not os.path.isfile(source):
            raise TestbedError(f"there is no image {source}")
        image.run("cp", "--reflink=auto", source, part)
        return
    attempts = 0
    while True:
        before = size(part)
        try:
            download(source, part, before)
            return
        except urllib.error.HTTPError as error:
            if error.code != 416 or not before:  # 416: there is no rest; what there is will be judged
                raise TestbedError(f"{source} cannot be downloaded: {error}") from None
            return
        except (OSError, http.client.HTTPException) as error:
            attempts = 0 if size(part) > before else attempts + 1
            if attempts == ATTEMPTS:
                raise TestbedError(f"{source} cannot be downloaded: {error}. What has come is kept for the next "
                                   "time") from None


def download(url: str, part: Path, start: int) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        with part.open("ab" if resumed else "wb") as stream:
            shutil.copyfileobj(answer, stream, SMALL)
        if answer.length:  # what is still to come
            raise ConnectionError(f"the connection ended {answer.length} bytes too early")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def say(text: str) -> None:
    print(f"testbed: {text}", file=sys.stderr, flush=True)
