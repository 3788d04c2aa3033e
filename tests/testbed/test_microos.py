# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: made here, signed with a key made here, served on loopback; what nobody vouches for is never started."""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.server
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import combustion
import image
import microos
import pytest
import vm

TESTBED = pathlib.Path(__file__).with_name("testbed.py")
NAME = "openSUSE-MicroOS.x86_64-kvm-and-xen.qcow2"
FULL_NAME = "openSUSE-MicroOS.x86_64-16.0.0-kvm-and-xen-Snapshot20260912.qcow2"
FOLDER = "/tumbleweed/appliances"


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` by their paths, with ranges, and can be made to behave badly."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {}
        self.asked = []  # paths and ranges
        self.cut = []  # for each answer about the image: after how many bytes the connection ends
        self.ranges = True

    def image_requests(self):
        return [wanted for path, wanted in self.asked if path.endswith(".qcow2")]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.cut.pop(0) if self.path.endswith(".qcow2") and server.cut else None
        self.wfile.write(content[start:end])

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def signer(gpg):
    return gpg.key("image-signer")


@pytest.fixture(autouse=True)
def cache(signer, tmp_path, monkeypatch):
    """A cache of its own; the key that stands for openSUSE's is pinned instead of theirs."""
    for name in ("TESTBED_IMAGE_KEY", "TESTBED_IMAGE_FINGERPRINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(image, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(microos, "PINNED", {signer: "the tests"})
    return tmp_path / "cache" / "microos"


@pytest.fixture(scope="session")
def content(tmp_path_factory):
    """A qcow2 image with something in it."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "raw").write_bytes(os.urandom(500_000))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "raw", folder / "qcow2"], check=True)
    return (folder / "qcow2").read_bytes()


def sidecars(gpg, tmp_path, content, named=FULL_NAME, text=None, by="image-signer"):
    """IMAGE.sha256 and IMAGE.sha256.asc"""
    checksum = (text or f"{hashlib.sha256(content).hexdigest()}  {named}\n").encode()
    (tmp_path / "signed").write_bytes(checksum)
    return {".sha256": checksum, ".sha256.asc": gpg.sign(by, tmp_path / "signed")}


@pytest.fixture
def serve(server, gpg, tmp_path, content):
    """Puts an image, what lies beside it and the key on the server; the URL of the image."""
    def run(name=NAME, data=content, **kwargs):
        for suffix, text in {"": data, **sidecars(gpg, tmp_path, content, **kwargs)}.items():
            server.files[f"{FOLDER}/{name}{suffix}"] = text
        server.files[microos.KEY] = gpg.export("image-signer")
        return f"{server.url}{FOLDER}/{name}"
    return run


@pytest.fixture
def lay(gpg, tmp_path, content, monkeypatch):
    """Lays an image here, and the key; the path of the image."""
    def run(name=NAME, data=content, **kwargs):
        folder = tmp_path / "here"
        folder.mkdir(exist_ok=True)
        for suffix, text in {"": data, **sidecars(gpg, tmp_path, data, **kwargs)}.items():
            (folder / f"{name}{suffix}").write_bytes(text)
        (folder / "key.asc").write_bytes(gpg.export("image-signer"))
        monkeypatch.setenv("TESTBED_IMAGE_KEY", str(folder / "key.asc"))
        return folder / name
    return run


def refused(wanted, said):
    with pytest.raises(vm.TestbedError, match=said) as error:
        microos.image_disk(str(wanted))
    assert not list((image.CACHE / "microos").glob("*.qcow2")), "nothing that is refused may be found later"
    return str(error.value)


# --- what TESTBED_IMAGE means ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted, source", [
    ("https://mirror.example/x/y.qcow2", "https://mirror.example/x/y.qcow2"),
    ("openSUSE-MicroOS.x86_64-kvm-and-xen.qcow2",
     "https://download.opensuse.org/tumbleweed/appliances/openSUSE-MicroOS.x86_64-kvm-and-xen.qcow2"),
    ("/somewhere/x.raw", "/somewhere/x.raw"), ("./x.qcow2", "{here}/x.qcow2"), ("there.qcow2", "{here}/there.qcow2")])
def test_a_path_a_url_or_a_name(wanted, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.qcow2").touch()
    assert microos.locate(wanted) == source.format(here=tmp_path)


@pytest.mark.parametrize("wanted, said", [
    ("", "set TESTBED_IMAGE"), ("openSUSE-MicroOS-DVD-x86_64-Current.iso", "no disk image"),
    ("x.raw.xz", "no disk image"), ("https://mirror.example/", "no disk image"),
    ("ftp://mirror.example/x.qcow2", "there is no|cannot be read")])
def test_what_is_no_image(wanted, said):
    refused(wanted, said)


@pytest.mark.parametrize("wanted, signed, same", [
    (NAME, FULL_NAME, True), (FULL_NAME, FULL_NAME, True), (NAME, NAME, True),
    ("openSUSE-MicroOS.x86_64-kvm-and-xen-Current.qcow2", FULL_NAME, True),
    ("mine.qcow2", "mine-Build12.3.qcow2", True),
    # another kind, another architecture, another format
    (NAME, "openSUSE-MicroOS.x86_64-16.0.0-ContainerHost-kvm-and-xen-Snapshot20260912.qcow2", False),
    (NAME, "openSUSE-MicroOS.x86_64-16.0.0-kvm-and-xen-sdboot-Snapshot20260912.qcow2", False),
    (NAME, FULL_NAME.replace("x86_64", "aarch64"), False), (NAME, FULL_NAME.replace("qcow2", "raw"), False),
    # who asks for a build gets that one
    (FULL_NAME, FULL_NAME.replace("0912", "0101"), False), (FULL_NAME, NAME, False)])
def test_the_checksum_is_of_the_image_that_is_wanted(wanted, signed, same):
    assert microos.same_image(wanted, signed) is same


# --- from a server -----------------------------------------------------------------------------------------------


def test_it_is_downloaded_once(serve, server, content, cache, capsys, signer):
    disk = microos.image_disk(serve())
    assert disk.read_bytes() == content
    assert disk == cache / f"{hashlib.sha256(content).hexdigest()}.qcow2"
    assert not disk.stat().st_mode & 0o222
    assert f"{FULL_NAME} was signed on " in (said := capsys.readouterr().err) and f"{signer} (the tests)" in said
    assert microos.image_disk(serve()) == disk
    assert server.image_requests() == [None]
    assert [path.name for path in cache.iterdir()] == [disk.name]


def test_a_newer_build_behind_the_same_name(serve, server, content, gpg, tmp_path):
    url = serve()
    old = microos.image_disk(url)
    newer = content + bytes(4096)
    for suffix, text in {"": newer, **sidecars(gpg, tmp_path, newer, FULL_NAME.replace("0912", "0913"))}.items():
        server.files[f"{FOLDER}/{NAME}{suffix}"] = text
    assert microos.image_disk(url).read_bytes() == newer
    assert old.read_bytes() == content, "a VM may still run on it"


def test_a_damaged_copy_in_the_cache_is_not_used(serve, server, content, capsys):
    disk = microos.image_disk(serve())
    disk.chmod(0o644)
    disk.write_bytes(content[:-1] + b"!")
    assert microos.image_disk(serve()).read_bytes() == content
    assert "was damaged" in capsys.readouterr().err
    assert server.image_requests() == [None, None]


@pytest.mark.parametrize("suffix", ["", ".sha256", ".sha256.asc"])
def test_what_is_missing(serve, server, suffix):
    url = serve()
    del server.files[f"{FOLDER}/{NAME}{suffix}"]
    assert f"{NAME}{suffix}" in refused(url, "404")


def test_no_key_on_the_server(serve, server):
    url = serve()
    del server.files[microos.KEY]
    refused(url, "repomd.xml.key, without which no image is trusted")


def test_a_changed_image(serve, content, cache):
    refused(serve(data=content[:-1] + b"!"), "does not have the signed checksum")
    assert not list(cache.iterdir())


def test_a_changed_checksum(serve, server, content):
    url = serve(data=content + b"!")
    server.files[f"{FOLDER}/{NAME}.sha256"] = f"{hashlib.sha256(content + b'!').hexdigest()}  {FULL_NAME}\n".encode()
    refused(url, "one of them was changed")
    assert not server.image_requests(), "what is not signed need not be downloaded"


def test_the_signature_of_somebody_else(serve, server, gpg):
    """Who controls the server can serve an own key with it."""
    gpg.key("somebody")
    url = serve(by="somebody")
    refused(url, "no usable key made it")
    server.files[microos.KEY] += gpg.export("somebody")
    refused(url, "not pinned")


def test_the_image_of_another_kind(serve):
    refused(serve(named="openSUSE-MicroOS.x86_64-16.0.0-ContainerHost-kvm-and-xen-Snapshot20260912.qcow2"),
            "is that of another image")


@pytest.mark.parametrize("text", [
    "{hash}  {name}\n{hash}  other\n", "{hash}  {name}\n\n", "{hash}\n", "{hash}{hash}  {name}\n", "  {hash}  {name}\n",
    "MD5 {hash}  {name}\n", "\n", "{upper}  {name}\n"])
def test_a_checksum_that_is_not_one_line(serve, content, text):
    checksum = hashlib.sha256(content).hexdigest()
    refused(serve(text=text.format(hash=checksum, upper=checksum.upper(), name=FULL_NAME)), "has to be one line")


def test_the_forms_of_a_checksum(serve, content):
    checksum = hashlib.sha256(content).hexdigest()
    for text in (f"{checksum} *{FULL_NAME}\n", f"{checksum}  {FULL_NAME}", f"{checksum}  ./{FULL_NAME}\n"):
        assert microos.image_disk(serve(text=text))


def test_something_endless_instead_of_a_signature(serve, server):
    url = serve()
    server.files[f"{FOLDER}/{NAME}.sha256.asc"] = bytes(microos.SMALL + 1)
    refused(url, "too large")


# --- connections that end ----------------------------------------------------------------------------------------


def test_a_download_goes_on_where_it_ended(serve, server, content):
    server.cut = [100_000, 150_000]
    assert microos.image_disk(serve()).read_bytes() == content
    assert server.image_requests() == [None, "bytes=100000-", "bytes=250000-"]


def test_the_next_run_goes_on_too(serve, server, content, cache):
    url = serve()
    server.cut = [100_000] + [0] * microos.ATTEMPTS
    refused(url, "100000 bytes|kept for the next time")
    assert [path.stat().st_size for path in cache.iterdir()] == [100_000]
    server.cut.clear()
    server.asked.clear()
    assert microos.image_disk(url).read_bytes() == content
    assert server.image_requests() == ["bytes=100000-"]


def test_a_server_that_knows_no_ranges(serve, server, content):
    server.ranges = False
    server.cut = [100_000]
    assert microos.image_disk(serve()).read_bytes() == content


@pytest.mark.parametrize("part", [
    lambda content: content, lambda content: content + b"!", lambda _content: b"?" * 1000])
def test_what_an_earlier_run_left(serve, content, cache, part):
    """All of it, more than that, or something else: it is used if it is right, and does not stay if it is not."""
    cache.mkdir(parents=True)
    left = part(content)
    (cache / f"{hashlib.sha256(content).hexdigest()}.part").write_bytes(left)
    if left != content:
        refused(serve(), "does not have the signed checksum")
    assert microos.image_disk(serve()).read_bytes() == content


def test_killed_in_the_middle(serve, server, content, cache, signer):
    """A real process and a real kill: what it leaves is never taken for the image."""
    url = serve()
    data, held = server.files[f"{FOLDER}/{NAME}"], threading.Event()

    class Slow(bytes):
        def __getitem__(self, key):
            held.wait(20)
            return bytes(self)[key]
    server.files[f"{FOLDER}/{NAME}"] = Slow(data)
    env = dict(os.environ, TESTBED_CACHE=str(image.CACHE), TESTBED_IMAGE_FINGERPRINT=signer)
    process = subprocess.Popen([sys.executable, TESTBED, "start", "vm", "--image", url], env=env)
    try:
        deadline = time.monotonic() + 20
        while not list(cache.glob("*.part")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        held.set()
    assert not list(cache.glob("*.qcow2"))
    server.files[f"{FOLDER}/{NAME}"] = data
    assert microos.image_disk(url).read_bytes() == content


def test_two_at_once_download_once(serve, server):
    url = serve()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        disks = list(pool.map(microos.image_disk, [url] * 4))
    assert len(set(disks)) == 1
    assert server.image_requests() == [None]


# --- from here ---------------------------------------------------------------------------------------------------


def test_an_image_that_lies_here(lay, content):
    path = lay()
    disk = microos.image_disk(str(path))
    assert disk.read_bytes() == content
    path.write_bytes(b"changed after it was verified")
    assert disk.read_bytes() == content


@pytest.mark.parametrize("suffix", ["", ".sha256", ".sha256.asc"])
def test_what_is_missing_here(lay, suffix):
    path = lay()
    path.with_name(path.name + suffix).unlink()
    assert f"{path}{suffix}" in refused(path, "cannot be read|there is no image")


def test_a_changed_image_that_lies_here(lay, content):
    path = lay()
    path.write_bytes(content[:-1] + b"!")
    refused(path, "does not have the signed checksum")


def test_an_image_that_builds_on_another(lay, content, tmp_path):
    """The checksum says nothing of the other."""
    (tmp_path / "base.qcow2").write_bytes(content)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", tmp_path / "base.qcow2",
                    tmp_path / "top.qcow2"], check=True)
    refused(lay(data=(tmp_path / "top.qcow2").read_bytes()), "it builds on .*base.qcow2")


def test_an_image_that_keeps_its_data_elsewhere(lay, tmp_path):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on",
                    tmp_path / "top.qcow2", "1M"], check=True)
    refused(lay(data=(tmp_path / "top.qcow2").read_bytes()), "it builds on .*data")


# --- keys of one's own -------------------------------------------------------------------------------------------


def test_pins_of_ones_own(lay, signer, gpg, monkeypatch, capsys):
    path = lay()
    other = gpg.key("pinned-instead")
    monkeypatch.setenv("TESTBED_IMAGE_FINGERPRINT", other)
    refused(path, "not pinned")
    monkeypatch.setattr(microos, "PINNED", {other: "openSUSE"})
    monkeypatch.delenv("TESTBED_IMAGE_FINGERPRINT")
    refused(path, "not pinned")
    spaced = " ".join(signer[start:start + 4] for start in range(0, 40, 4)).lower()
    monkeypatch.setenv("TESTBED_IMAGE_FINGERPRINT", f"{other}, {spaced}")
    assert microos.image_disk(str(path))
    assert "(TESTBED_IMAGE_FINGERPRINT)" in capsys.readouterr().err


@pytest.mark.parametrize("pin", ["B88B2FD43DBDC284", "any", "22C07BA534178CD02EFE22AAB88B2FD43DBDC284 extra"])
def test_a_pin_that_is_no_fingerprint(lay, pin, monkeypatch):
    monkeypatch.setenv("TESTBED_IMAGE_FINGERPRINT", pin)
    refused(lay(), "is no fingerprint")


# --- a VM of it --------------------------------------------------------------------------------------------------


# The initrd's only program: it looks for the script where combustion does, and writes to the disk
PROBE = """\
#!/bin/sh
for kind in devtmpfs:/dev sysfs:/sys proc:/proc; do mount -t ${kind%:*} none ${kind#*:}; done
modprobe -a virtio_blk qemu_fw_cfg
{ echo '<<<'; cat /sys/firmware/qemu_fw_cfg/by_name/opt/org.opensuse.combustion/script/raw; echo '>>>'; } >/dev/ttyS0
echo testbed-was-here >/dev/vda
echo s >/proc/sysrq-trigger  # writes all to the disk
echo o >/proc/sysrq-trigger  # switches off
while :; do :; done
"""
ENTRY = """\
linux /linux
initrd /initrd
initrd /probe.cpio
options console=ttyS0 quiet loglevel=0 mitigations=off rdinit=/probe
"""


def cpio(name, content):
    """An archive of one program, as the kernel unpacks it over the initrd."""
    def member(name, mode, content):
        fields = [1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
        return b"".join(part + bytes(-len(part) % 4) for part in (head, content))
    return member(name, 0o100755, content) + member(b"TRAILER!!!", 0, b"")


@pytest.fixture(scope="session")
def bootable(tmp_path_factory):
    """All on one disk: firmware finds a boot loader, that a kernel of the guest's, and that the probe."""
    esp, folder = image.image("tukit") / "esp.img", tmp_path_factory.mktemp("bootable")
    for source, target in [("EFI/BOOT/BOOTX64.EFI", "loader.efi"), ("microos/*/linux", "linux"),
                           ("microos/*/initrd", "initrd")]:
        subprocess.run(["mcopy", "-i", f"{esp}@@1M", f"::/{source}", folder / target], check=True)
    (folder / "probe.cpio").write_bytes(cpio(b"probe", PROBE.encode()))
    (folder / "probe.conf").write_text(ENTRY)
    disk = folder / "disk.raw"
    subprocess.run(["truncate", "--size=80M", disk], check=True)
    subprocess.run(["sfdisk", "--quiet", disk], input="label: gpt\nstart=1MiB, size=78MiB, type=uefi\n", text=True,
                   check=True)
    subprocess.run(["mkfs.vfat", "-F", "32", "--offset", "2048", disk, str(78 * 1024)], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", f"{disk}@@1M", "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"], check=True)
    for name, target in [("loader.efi", "EFI/BOOT/BOOTX64.EFI"), ("linux", "linux"), ("initrd", "initrd"),
                         ("probe.cpio", "probe.cpio"), ("probe.conf", "loader/entries/probe.conf")]:
        subprocess.run(["mcopy", "-i", f"{disk}@@1M", folder / name, f"::/{target}"], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, folder / "disk.qcow2"], check=True)
    return (folder / "disk.qcow2").read_bytes()


def test_it_boots_from_a_disk_of_its_own_and_finds_the_script(lay, bootable, tmp_path, monkeypatch):
    path = lay(data=bootable)
    monkeypatch.setattr(vm, "STATE", tmp_path / "state")
    # no try of KVM, which takes longer than all of this
    monkeypatch.setattr(vm, "acceleration", lambda: ["-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off"])
    disk = microos.image_disk(str(path))
    machine = vm.VM("vm")
    try:
        with pytest.raises(vm.TestbedError, match="vm does not run"):  # it has switched itself off
            vm.start_image("vm", disk)
    finally:
        machine.kill()
    found = machine.log.read_bytes().decode(errors="replace").replace("\r\n", "\n").split("<<<\n")[1].split(">>>")[0]
    assert found == combustion.script(pathlib.Path(f"{image.ssh_key()}.pub").read_text())
    assert disk.read_bytes() == bootable, "what the guest writes does not reach the image"
    overlay = ["qemu-img", "dd", "-O", "raw", "bs=512", "count=1", f"if={machine.directory / 'root.qcow2'}"]
    subprocess.run([*overlay, f"of={tmp_path / 'start'}"], check=True)
    assert (tmp_path / "start").read_bytes().startswith(b"testbed-was-here\n")


@pytest.mark.parametrize("real", [True, False])
def test_a_unit_that_fails_is_no_failure_of_a_real_image(tmp_path, monkeypatch, real):
    machine = vm.VM("vm", tmp_path)
    if real:
        machine.combustion.touch()
    monkeypatch.setattr(vm.VM, "pid", lambda _self: 1)
    monkeypatch.setattr(vm.VM, "ssh", lambda *_arguments: subprocess.CompletedProcess([], 1, "degraded\n", ""))
    if real:
        machine.wait(5)
    else:
        with pytest.raises(vm.TestbedError, match="vm is degraded"):
            machine.wait(5)


def test_the_command_tells_why_not(tmp_path):
    state = tmp_path / "state"
    env = dict(os.environ, TESTBED_STATE=str(state), TESTBED_CACHE=str(tmp_path / "cache"))
    for wanted, said in [("", "set TESTBED_IMAGE"), (str(tmp_path / "no.qcow2"), "no.qcow2.sha256, without which")]:
        done = subprocess.run([sys.executable, TESTBED, "start", "vm", "--image", wanted], env=env, capture_output=True,
                              text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("testbed: ") and said in done.stderr
    assert not state.exists()
