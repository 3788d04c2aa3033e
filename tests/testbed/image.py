"""Builds the disks of a test guest: a transactional host made from Debian 13 packages, laid out like openSUSE MicroOS.

Everything is cached by the content of what it is made from. Building needs root; mounts and loop devices live in a
private mount namespace and go with it, however the build ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import repos

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("TESTBED_CACHE")
             or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microos-testbed")
ENGINES = ("tukit", "snapper")
SUITE = "trixie"
KERNEL = "linux-image-cloud-amd64"
# A newer one, for updates
OTHER_KERNEL = f"{KERNEL}/{SUITE}-backports"
PACKAGES = (
    f"{KERNEL} systemd systemd-sysv systemd-boot systemd-boot-efi udev dbus dracut zstd kmod btrfs-progs "
    "snapper zypper rpm createrepo-c gpg gpg-agent python3 python3-btrfsutil openssh-server sudo rsync iproute2 less "
    "attr acl curl kexec-tools "
    # LUKS, and keys of it in a TPM
    "cryptsetup-bin systemd-cryptsetup libtss2-esys-3.0.2-0t64 libtss2-mu-4.0.1-0t64 libtss2-rc0t64 "
    "libtss2-tcti-device0t64 "
    # What sets up SELinux; there is no policy
    "policycoreutils policycoreutils-python-utils"
).split()
ROOT_SIZE = "8G"
ESP_MIB = 1024
# What is no part of a snapshot
SUBVOLUMES = ("var", "root", "home", "opt", "srv", "usr/local", "boot/writable")
EARLY = ("var", "root")
# The mitigations of the processor's faults take a sixth of the emulator's time. Where three VMs share two processors, a
# disk may be found later than systemd waits for it by default
CMDLINE = ("rw console=ttyS0 8250.nr_uarts=2 quiet panic=5 systemd.show_status=1 mitigations=off "
           "systemd.default_device_timeout_sec=300")
SNAPSHOT_INFO = """\
<?xml version="1.0"?>
<snapshot>
  <type>single</type>
  <num>1</num>
  <date>2026-01-01 00:00:00</date>
  <description>first root filesystem</description>
  <cleanup>number</cleanup>
  <userdata><key>important</key><value>yes</value></userdata>
</snapshot>
"""
SERVICES = {
    "enable": "systemd-networkd ssh snapper-cleanup.timer",
    "disable": "snapper-boot.timer snapper-timeline.timer",
    "mask": "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service "
            "fstrim.timer systemd-firstboot.service systemd-boot-random-seed.service "
            # nothing here needs them, and under emulation each process of a boot costs
            "dev-hugepages.mount dev-mqueue.mount run-lock.mount sys-kernel-debug.mount sys-kernel-tracing.mount "
            "sys-fs-fuse-connections.mount sys-kernel-config.mount modprobe@configfs.service modprobe@drm.service "
            "modprobe@efi_pstore.service modprobe@fuse.service systemd-binfmt.service "
            "proc-sys-fs-binfmt_misc.automount systemd-udev-load-credentials.service "
            "systemd-network-generator.service systemd-networkd-persistent-storage.service "
            "systemd-random-seed.service systemd-pstore.service dracut-shutdown.service getty@tty1.service",
}
GENERATORS = "gpt-auto hibernate-resume integritysetup rc-local run ssh system-update sysv tpm2 veritysetup"  # likewise


def run(*argv: str | Path, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in argv], check=True, **kwargs)


# --- the cache ---------------------------------------------------------------------------------------------------


def digest(*parts: str | Path) -> str:
    """Of texts, files and trees: names, what is executable, link targets and contents."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
            continue
        for path in sorted([part, *part.rglob("*")]):
            if "__pycache__" in path.parts:
                continue
            total.update(f"{path.relative_to(part)} {path.lstat().st_mode & 0o100}\n".encode())
            if path.is_symlink():
                total.update(os.readlink(path).encode())
            elif path.is_file():
                total.update(path.read_bytes())
    return total.hexdigest()[:16]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Two builds of the same thing at once: the second waits and then finds it made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The directory CACHE/name; ``make`` fills it if it is not there yet. What is half-made never counts."""
    target = CACHE / name
    with locked(name):
        if not target.exists():
            print(f"testbed: building {name} ...", file=sys.stderr, flush=True)
            for half_made in CACHE.glob(f".{name}-*"):  # its maker was killed, else we had not got the lock
                shutil.rmtree(half_made)
            work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=CACHE))
            try:
                make(work)
                work.chmod(0o755)
                work.rename(target)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
    return target


def ssh_key() -> Path:
    """The private key for all guests of this cache."""
    def make(work: Path) -> None:
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", work / "id_ed25519")
    return cached("ssh", make) / "id_ed25519"


# --- the layers --------------------------------------------------------------------------------------------------


def rootfs() -> Path:
    """The packages, as a tar file."""
    def make(work: Path) -> None:
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE,
            work / "root.tar", stdout=sys.stderr)
    return cached(f"rootfs-{digest(SUITE, ' '.join(PACKAGES))}", make) / "root.tar"


def kernel() -> Path:
    """Another kernel with its modules, as a tar file."""
    def make(work: Path) -> None:
        sources = f's/^deb \\([^ ]*\\) {SUITE} /deb \\1 {SUITE}-backports /p'
        hook = f'sed -n "{sources}" "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/backports.list"'
        run("mmdebstrap", "--quiet", "--variant=extract", f"--include={OTHER_KERNEL}", f"--setup-hook={hook}", SUITE,
            work / "tree", stdout=sys.stderr)
        tree = work / "tree"
        (tree / "boot").mkdir(exist_ok=True)
        for path in tree.glob("usr/lib/modules/*/vmlinuz"):  # where newer packages have it
            path.rename(tree / "boot" / f"vmlinuz-{path.parent.name}")
        names = [path.relative_to(tree) for top in ("boot/vmlinuz-*", "usr/lib/modules/*") for path in tree.glob(top)]
        run("tar", "-cf", work / "kernel.tar", "-C", tree, *names)
        shutil.rmtree(tree)
    return cached(f"kernel-{digest(SUITE, OTHER_KERNEL)}", make) / "kernel.tar"


def qemu() -> list[str]:
    """The command of SUITE's QEMU, with the libraries of its own.

    Under emulation, version 10.0 takes three quarters of the processor's time of 7.2 (Debian 12's) for a boot, and
    half of it for what runs again.
    """
    def make(work: Path) -> None:
        run("mmdebstrap", "--quiet", "--variant=extract", "--include=qemu-system-x86",
            '--aptopt=APT::Install-Recommends "false"', SUITE, work / "tree", stdout=sys.stderr)
    tree = cached(f"qemu-{digest(SUITE)}", make) / "tree/usr"
    return [f"{tree}/lib64/ld-linux-x86-64.so.2", "--library-path", f"{tree}/lib/x86_64-linux-gnu",
            f"{tree}/bin/qemu-system-x86_64", "-L", f"{tree}/share/qemu", "-L", f"{tree}/share/seabios"]


def overlays(engine: str) -> list[Path]:
    """The trees that are laid over the packages, in this order."""
    real = os.environ.get("TESTBED_OVERLAY")
    trees = [HERE / "guest", HERE / "guest-tukit"]
    return trees + ([Path(real).resolve(strict=True)] if real and engine == "tukit" else [])


def image(engine: str) -> Path:
    """The disks of a guest that was never booted: a directory with root.img and esp.img."""
    base, newer = rootfs(), kernel()
    key = Path(f"{ssh_key()}.pub")
    sources = [HERE / name for name in ("image.py", "repos.py", "repos")]
    name = digest(engine, base.parent.name, newer.parent.name, key, *sources, *overlays(engine))

    def make(work: Path) -> None:
        # mounts and loop devices of the build go with this namespace
        log = work / "build.log"
        with open(log, "wb") as stream:
            done = subprocess.run(["unshare", "--mount", "--propagation", "private", sys.executable, HERE / "image.py",
                                   engine, base, newer, key, work], stdout=stream, stderr=stream, check=False)
        if done.returncode != 0:
            raise SystemExit(f"testbed: building the image failed:\n{log.read_text()}")
    return cached(f"image-{engine}-{name}", make)


# --- building, inside the namespace ------------------------------------------------------------------------------


def build(engine: str, base: Path, newer_kernel: Path, key: Path, work: Path) -> None:
    tree = work / "tree"
    tree.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=3G,mode=755", "tmpfs", tree)
    run("tar", "-xf", base, "-C", tree)
    repositories = work / "repositories"
    repos.build(tree, newer_kernel, repositories)
    for overlay in [repositories, *overlays(engine)]:
        # the umask of the checkout is none of the guest's business
        run("rsync", "--archive", "--chown=root:root", "--chmod=u+w,go=rX", f"{overlay}/", f"{tree}/")
    shutil.rmtree(repositories)
    if engine == "snapper":
        (tree / "usr/sbin/tukit").unlink()
    identity = str(uuid.uuid4())
    configure(tree, identity, key.read_text())
    make_root_disk(tree, work / "root.img", identity)
    make_esp(tree, work / "esp.img", identity)
    # to try whether KVM runs a kernel
    shutil.copy(max(tree.glob("boot/vmlinuz-*")), work / "linux")
    run("umount", "--recursive", tree)
    tree.rmdir()


def configure(tree: Path, identity: str, public_key: str) -> None:
    """All that is not the same on every host, or made by the guest's own tools."""
    write(tree, "etc/fstab", fstab(identity))
    write(tree, "etc/hostname", "microos\n")
    write(tree, "etc/hosts", "127.0.0.1 localhost microos\n")
    write(tree, "etc/resolv.conf", "nameserver 10.0.2.3\n")
    write(tree, "etc/machine-id", uuid.uuid4().hex + "\n")
    write(tree, "etc/kernel/cmdline", f"root=UUID={identity} {CMDLINE}\n")
    for home in ("root", "home/admin"):
        write(tree, f"{home}/.ssh/authorized_keys", public_key)
    for directory in (".snapshots", "boot/efi", *SUBVOLUMES, "var/lib/ca-certificates", "var/log/journal"):
        (tree / directory).mkdir(parents=True, exist_ok=True)
    for filesystem in ("proc", "sys", "dev"):
        run("mount", "--rbind", f"/{filesystem}", tree / filesystem)
    run("mount", "-t", "tmpfs", "tmpfs", tree / "run")
    run("chroot", tree, "sh", "-euxc", f"""
        useradd --uid 1000 --home-dir /home/admin --shell /bin/bash --password '*' admin
        chown -R admin:admin /home/admin
        mkdir -p /usr/lib/sysimage/rpm /usr/libexec/testbed
        ln -s "$(realpath /usr/bin/python3)" /usr/libexec/testbed/python3
        rm -rf /var/lib/rpm
        ln -s ../../usr/lib/sysimage/rpm /var/lib/rpm
        rpm --import /opt/testbed/repos/key.asc
        rpm --install --justdb --nodeps /opt/testbed/repos/main/noarch/testbed-base-1.0-1.noarch.rpm
        {"".join(f"systemctl --quiet {verb} {units}; " for verb, units in SERVICES.items())}
        mkdir -p /etc/systemd/system-generators
        for name in {GENERATORS}; do ln -s /dev/null "/etc/systemd/system-generators/systemd-$name-generator"; done
        ldconfig
        rm -f /boot/initrd*
        for kernel in /usr/lib/modules/*; do
            dracut --quiet --force --kver "${{kernel##*/}}" "/boot/initrd-${{kernel##*/}}"
        done
        touch /etc/.updated /var/.updated
        rm -rf /var/cache/apt /var/lib/apt/lists /usr/share/doc /usr/share/man
    """, stdin=subprocess.DEVNULL)
    for filesystem in ("run", "dev", "sys", "proc"):
        run("umount", "--recursive", "--lazy", tree / filesystem)


def fstab(identity: str) -> str:
    """As in MicroOS: the default subvolume decides what / is, and /etc, /var and /root are mounted in the initrd."""
    lines = ["/ btrfs ro=vfs", "/etc none bind,x-initrd.mount"]
    lines += [f"/{path} btrfs subvol=/@/{path}{',x-initrd.mount' if path in EARLY else ''}" for path in SUBVOLUMES]
    lines.append("/.snapshots btrfs subvol=/@/.snapshots")
    sources = {"/etc": "/etc"}
    entries = [f"{sources.get(line.split()[0], f'UUID={identity}')} {line} 0 0" for line in lines]
    return "\n".join([*entries, "LABEL=ESP /boot/efi vfat umask=0077 0 0", ""])


def write(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


def make_root_disk(tree: Path, disk: Path, identity: str) -> None:
    run("truncate", "--size", ROOT_SIZE, disk)
    run("mkfs.btrfs", "--quiet", "--uuid", identity, disk)
    top = disk.with_suffix(".mount")
    top.mkdir()
    run("mount", "-o", "loop", disk, top)  # the loop device goes with the mount
    snapshot = top / "@/.snapshots/1/snapshot"
    for path in ["@", "@/.snapshots"]:
        run("btrfs", "-q", "subvolume", "create", top / path)
    snapshot.parent.mkdir()
    for path in [snapshot, snapshot / "etc", *(top / "@" / path for path in SUBVOLUMES)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        run("btrfs", "-q", "subvolume", "create", path)
    excludes = [f"--exclude=/{path}/*" for path in SUBVOLUMES]
    run("rsync", "--archive", "--xattrs", "--acls", "--hard-links", *excludes, f"{tree}/", f"{snapshot}/")
    for path in SUBVOLUMES:
        run("rsync", "--archive", "--xattrs", "--acls", "--hard-links", f"{tree / path}/", f"{top / '@' / path}/")
    (snapshot.parent / "info.xml").write_text(SNAPSHOT_INFO)
    run("btrfs", "subvolume", "set-default", snapshot)
    run("btrfs", "property", "set", "-ts", snapshot, "ro", "true")
    run("umount", top)
    top.rmdir()


def make_esp(tree: Path, disk: Path, identity: str) -> None:
    """systemd-boot and the entry of snapshot 1; later entries are the work of the guest's snapper plugin."""
    run("truncate", "--size", f"{ESP_MIB + 2}M", disk)
    run("sfdisk", "--quiet", disk, text=True, input=f"label: gpt\nstart=1MiB, size={ESP_MIB}MiB, type=uefi, name=ESP\n")
    run("mkfs.vfat", "-F", "32", "-n", "ESP", "--offset", "2048", disk, str(ESP_MIB * 1024))
    files = disk.with_suffix(".files")
    kernel = max(tree.glob("boot/vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    initrd = tree / f"boot/initrd-{version}"
    # the same name as the plugin gives
    directory = f"microos/{version}-" + "".join(
        f"{path.stat().st_size}-{int(path.stat().st_mtime)}-" for path in (kernel, initrd))
    entry = [("title", "MicroOS snapshot 1"), ("version", "1"), ("sort-key", "microos"),
             ("linux", f"/{directory}/linux"), ("initrd", f"/{directory}/initrd"),
             ("options", f"root=UUID={identity} {CMDLINE} rootflags=subvol=@/.snapshots/1/snapshot")]
    write(files, "loader/loader.conf", "timeout 0\neditor no\n")
    write(files, "loader/entries/microos-1.conf", "".join(f"{key} {value}\n" for key, value in entry))
    loader = tree / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    for source, name in [(loader, "EFI/BOOT/BOOTX64.EFI"), (loader, "EFI/systemd/systemd-bootx64.efi"),
                         (kernel, f"{directory}/linux"), (initrd, f"{directory}/initrd")]:
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, files / name)
    run("mcopy", "-s", "-i", f"{disk}@@1M", *files.iterdir(), "::/")
    shutil.rmtree(files)


# --- a look inside without a VM ----------------------------------------------------------------------------------

ENTER = """
set -e
disk=$1 root=$2; shift 2
mount -o loop "$disk" "$root"
mount -o remount,bind,ro "$root"
for path in %(subvolumes)s; do
    mount -o "subvol=/@/$path" "$(findmnt --noheadings --output SOURCE --nofsroot "$root")" "$root/$path"
done
mount --bind "$root/.snapshots/1/snapshot/etc" "$root/etc"
for path in dev proc sys; do mount --rbind "/$path" "$root/$path"; done
mount --make-rslave "$root/dev"; mount --make-rslave "$root/proc"; mount --make-rslave "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
"""


def enter(engine: str, binds: Iterable[str], argv: list[str]) -> int:
    """Run a command on a throw-away copy of the root disk, mounted as in the booted guest; its exit status."""
    disk = image(engine) / "root.img"
    with tempfile.TemporaryDirectory(prefix="testbed-") as directory:
        copy, root = Path(directory) / "root.img", Path(directory) / "root"
        root.mkdir()
        run("cp", "--sparse=always", "--reflink=auto", disk, copy)
        script = ENTER % {"subvolumes": " ".join([*SUBVOLUMES, ".snapshots"])}
        for bind in binds:
            source, target, *mode = bind.split(":")
            script += f'mkdir -p "$root{target}"; mount --bind "{source}" "$root{target}"\n'
            if mode == ["ro"]:
                script += f'mount -o remount,bind,ro "$root{target}"\n'
        script += 'exec chroot "$root" "$@"\n'
        # a pid namespace as well: whatever is started inside ends with it
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                               "--mount-proc", "sh", "-c", script, "sh", copy, root, *argv], check=False).returncode


if __name__ == "__main__":
    build(sys.argv[1], *map(Path, sys.argv[2:]))
