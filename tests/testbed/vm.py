"""Runs test guests in QEMU: each VM is a directory with its disks, serial log, control socket and port."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import combustion
import image

STATE = Path(os.environ.get("TESTBED_STATE") or image.HERE.parents[1] / ".testbed").absolute()
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
FIRMWARE_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
Q35 = "q35,sata=off,smbus=off,i8042=off,vmport=off"  # nothing is there that drivers would only look at
KVM = ["-machine", f"{Q35},accel=kvm", "-cpu", "host"]
MACHINE = ["-nodefaults", "-no-user-config", "-display", "none", "-m", "2048"]  # one CPU: OVMF may hang with two
# What roles for hardware find; the guest's kernel has no driver for these network cards
HARDWARE = ["-device", "e1000e,romfile=", "-device", "rtl8139,romfile=", "-device", "pcie-root-port,id=plug",
            "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm", "-serial", "file:serial1.log"]
# What the guest flushes leaves QEMU, so that it outlives a power cut; that this machine itself writes it out, and makes
# all VMs wait, is of no use
NO_SYNC = "cache.no-flush=on"
BOOTED = "booted"
BOOT_TIMEOUT = 600  # a minute on a quiet machine, five where three VMs share two slow processors
# A whole MicroOS, with its first boot; without KVM
IMAGE_TIMEOUT = 1800


class TestbedError(Exception):
    """What went wrong, with the end of the serial log where there is one."""


def acceleration() -> list[str]:
    """KVM if it really runs a kernel here, else software emulation; tried once after each boot of this machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def probe(work: Path) -> None:
        (work / "answer").write_text("kvm" if os.access("/dev/kvm", os.W_OK) and kvm_boots(work) else "tcg")
    answer = (image.cached(f"accel-{boot}", probe) / "answer").read_text()
    if answer == "kvm":
        return KVM
    # what distributions ask for (x86-64-v2) and no more: a guest that finds AVX uses it, and boots a quarter longer.
    # QEMU's own 1 GiB for translated code fills up, and then a boot takes a third more of the processor's time
    return ["-machine", Q35, "-accel", "tcg,thread=multi,tb-size=192", "-cpu", "Nehalem"]


def kvm_boots(work: Path) -> bool:
    """/dev/kvm may exist and still hang or abort: let a kernel come as far as missing its root."""
    log = work / "serial.log"
    kernel = next(image.CACHE.glob("image-*/linux"), None) or image.image("tukit") / "linux"
    process = subprocess.Popen(
        [*image.qemu(), *KVM, *MACHINE, "-no-reboot",
         "-kernel", kernel, "-append", "console=ttyS0 panic=-1", "-serial", f"file:{log}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return log.exists() and b"Unable to mount root" in log.read_bytes()


class VM:
    def __init__(self, name: str, directory: Path | None = None):
        self.name = name
        self.directory = directory or STATE / name
        self.log = self.directory / "serial.log"
        self.combustion = self.directory / "combustion"  # has a script if the guest is a real MicroOS

    # --- its processes -------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return int((self.directory / "port").read_text())

    def pid(self, program: str = "qemu") -> int | None:
        """Of this VM, if it runs; a number that was given to another process does not count."""
        try:
            pid = int((self.directory / f"{program}.pid").read_text())
            cwd = os.readlink(f"/proc/{pid}/cwd")
        except (OSError, ValueError):
            return None
        return pid if cwd == str(self.directory.resolve()) else None

    def create_disks(self, hardware: bool = False, **origins: Path) -> None:
        """Disks by their names; what is written to them does not reach where they come from."""
        for name, origin in origins.items():
            kind = "qcow2" if origin.suffix == ".qcow2" else "raw"
            image.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", origin,
                      self.directory / f"{name}.qcow2")
        image.run("qemu-img", "convert", "-O", "qcow2", FIRMWARE_VARS, self.directory / "vars.qcow2")
        if hardware:
            (self.directory / "tpm").mkdir()
            # the firmware measures the whole boot for each bank, and that costs
            image.run("swtpm_setup", "--tpm2", "--pcr-banks", "sha256", "--tpmstate", self.directory / "tpm",
                      stdout=subprocess.DEVNULL)

    def launch(self, state: str | None = None) -> None:
        """Start QEMU on the disks of this VM, from the firmware or from a saved state."""
        arguments = [*image.qemu(), "-name", self.name, *acceleration(), *MACHINE,
                     "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}",
                     # a firmware variable that was written outlives a power cut; with NO_SYNC, QEMU 10 would write it
                     # when the machine is next told to
                     "-drive", "if=pflash,format=qcow2,cache.writeback=off,file=vars.qcow2"]
        for name in ("root", "esp"):
            if not (self.directory / f"{name}.qcow2").exists():  # a real MicroOS has all on one disk
                continue
            arguments += ["-drive", f"if=none,id={name},format=qcow2,discard=unmap,{NO_SYNC},file={name}.qcow2",
                          "-device", f"virtio-blk-pci,drive={name},serial={name}"]
        arguments += ["-device", "virtio-rng-pci", "-device", "virtio-net-pci,netdev=net,romfile=",
                      "-device", "i6300esb", "-action", "watchdog=reset",
                      "-serial", "file:serial.log", "-qmp", "unix:qmp,server=on,wait=off"]
        if self.combustion.exists():
            arguments += ["-fw_cfg", f"name={combustion.FW_CFG},file={self.combustion.name}"]
        if state:
            arguments += ["-loadvm", state]
        port = self.port if (self.directory / "port").exists() else free_port()  # a machine keeps its address
        for _attempt in range(5):
            (self.directory / "port").write_text(str(port))
            with self._hardware() as (devices, descriptors):
                process = self._run("qemu", [*arguments, *devices, "-netdev",
                                             f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"], *descriptors)
            if self._answers(process):
                self._plug()
                return
            said = (self.directory / "qemu.log").read_text()
            if "hostfwd" not in said:
                break
            port = free_port()
        raise TestbedError(f"QEMU does not start {self.name}: {said}")

    def _run(self, program: str, argv: list[str], *descriptors: int) -> subprocess.Popen:
        with open(self.directory / f"{program}.log", "wb") as log:
            process = subprocess.Popen(argv, cwd=self.directory, pass_fds=descriptors, start_new_session=True,
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        (self.directory / f"{program}.pid").write_text(str(process.pid))
        return process

    @contextlib.contextmanager
    def _hardware(self) -> Iterator[tuple[list[str], list[int]]]:
        """QEMU's arguments and descriptors for it, if this VM has it. The TPM ends with the connection to it."""
        if not (self.directory / "tpm").exists():
            yield [], []
            return
        ours, its = socket.socketpair()
        with ours:
            with its:
                self._run("swtpm", ["swtpm", "socket", "--tpm2", "--terminate", "--tpmstate", "dir=tpm",
                                    "--ctrl", f"type=unixio,clientfd={its.fileno()}"], its.fileno())
            yield [*HARDWARE, "-chardev", f"socket,id=tpm,fd={ours.fileno()}"], [ours.fileno()]

    def _plug(self) -> None:
        """The NVMe disk, if there is one, comes while the VM runs: QEMU saves and loads no state with it."""
        if (self.directory / "nvme.qcow2").exists():
            self.qmp("blockdev-add", driver="qcow2", file={"driver": "file", "filename": "nvme.qcow2"},
                     **{"node-name": "nvme"})
            self.qmp("device_add", driver="nvme", id="nvme", drive="nvme", serial="nvme", bus="plug")

    def _answers(self, process: subprocess.Popen) -> bool:
        while process.poll() is None:
            try:
                self.qmp("query-status")
                return True
            except OSError:
                time.sleep(0.1)
        return False

    def kill(self) -> None:
        for program in ("qemu", "swtpm"):
            pid = self.pid(program)
            if pid:
                end(pid)

    def qmp(self, command: str, **arguments) -> object:
        """One command to QEMU's control socket."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(300)
            # a path by descriptor: the length of a socket's path is limited
            descriptor = os.open(self.directory, os.O_PATH)
            try:
                channel.connect(f"/proc/self/fd/{descriptor}/qmp")
            finally:
                os.close(descriptor)
            stream = channel.makefile("rw", encoding="utf-8")
            stream.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                answer = {"event": ""}
                while "event" in answer:
                    answer = json.loads(stream.readline())
                if "error" in answer:
                    raise TestbedError(f"QEMU refuses {command} for {self.name}: {answer['error']['desc']}")
        return answer["return"]

    def monitor(self, line: str) -> None:
        said = self.qmp("human-monitor-command", **{"command-line": line})
        if said:
            raise TestbedError(f"QEMU says to '{line}' for {self.name}: {said}")

    # --- the guest -----------------------------------------------------------------------------------------------

    def ssh_argv(self, *command: str) -> list[str]:
        options = ("BatchMode=yes", "ConnectTimeout=10", "IdentitiesOnly=yes", "LogLevel=ERROR",
                   "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
        return ["ssh", "-i", str(image.ssh_key()), "-p", str(self.port), *(f"-o{option}" for option in options),
                "root@127.0.0.1", *command]

    def ssh(self, command: str, timeout: float) -> subprocess.CompletedProcess:
        return subprocess.run(self.ssh_argv(command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)

    def wait(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Until the guest has booted completely and answers over ssh."""
        deadline = time.monotonic() + timeout
        said = "no answer"
        while time.monotonic() < deadline:
            if not self.pid():
                raise TestbedError(f"{self.name} does not run\n{self.tail()}")
            try:
                done = self.ssh(f"date -s @{int(time.time())} >/dev/null; systemctl is-system-running --wait",
                                deadline - time.monotonic())
            except subprocess.TimeoutExpired:
                break
            said = (done.stdout + done.stderr).strip()
            if said == "running" or said == "degraded" and self.combustion.exists():
                return  # what a foreign image comes with and does not work in a VM is not ours to judge
            if done.returncode != 255:  # 255 is ssh's own: not up yet
                failed = self.ssh("systemctl --failed --no-legend --plain", 60).stdout
                raise TestbedError(f"{self.name} is {said}: {failed}\n{self.tail()}")
            time.sleep(0.5)
        raise TestbedError(f"{self.name} did not come up within {timeout:.0f} s ({said})\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([f"--- {self.log}", *text.splitlines()[-lines:], "---"])


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        process = os.pidfd_open(pid)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [])  # until its last thread has ended, which holds the locks of the disks
        os.close(process)
    with contextlib.suppress(ChildProcessError):  # started by another command
        os.waitpid(pid, 0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def booted(engine: str, hardware: bool = False) -> Path:
    """The disks of a guest that has booted once, with the state of that moment saved inside."""
    disks = image.image(engine)
    version = subprocess.run([*image.qemu(), "--version"], capture_output=True, text=True, check=True).stdout
    name = image.digest(disks.name, version, image.HERE / "vm.py", " ".join(acceleration()))

    def make(work: Path) -> None:
        vm = VM(f"boot-{engine}", work)
        try:
            vm.create_disks(hardware, root=disks / "root.img", esp=disks / "esp.img")
            vm.launch()
            vm.wait()
            vm.monitor(f"savevm {BOOTED}")
        finally:
            vm.kill()
        for leftover in ("port", "qemu.pid", "swtpm.pid", "qmp"):
            (work / leftover).unlink(missing_ok=True)
    return image.cached(f"booted-{engine}-{'hardware-' if hardware else ''}{name}", make)


# --- the commands ------------------------------------------------------------------------------------------------


def start(name: str, engine: str, hardware: bool = False) -> None:
    vm = VM(name)
    if vm.pid():
        raise TestbedError(f"{name} runs already; stop it first")
    origin = booted(engine, hardware)
    shutil.rmtree(vm.directory, ignore_errors=True)
    vm.directory.mkdir(parents=True)
    for disk in ("root", "esp", "vars"):
        image.run("cp", "--reflink=auto", origin / f"{disk}.qcow2", vm.directory)
    if hardware:
        shutil.copytree(origin / "tpm", vm.directory / "tpm")
        image.run("qemu-img", "create", "-q", "-f", "qcow2", vm.directory / "nvme.qcow2", "1G")
    vm.launch(BOOTED)
    vm.wait(60)


def start_image(name: str, disk: Path) -> None:
    """From the first boot of a real MicroOS on, which lets us in by its combustion."""
    vm = VM(name)
    if vm.pid():
        raise TestbedError(f"{name} runs already; stop it first")
    shutil.rmtree(vm.directory, ignore_errors=True)
    vm.directory.mkdir(parents=True)
    vm.create_disks(root=disk)
    vm.combustion.write_text(combustion.script(Path(f"{image.ssh_key()}.pub").read_text()))
    vm.launch()
    vm.wait(BOOT_TIMEOUT if acceleration() == KVM else IMAGE_TIMEOUT)


def existing(name: str) -> VM:
    vm = VM(name)
    if not vm.pid():
        raise TestbedError(f"there is no VM {name} in {STATE}; start it first")
    return vm


def snapshot(name: str, tag: str) -> None:
    existing(name).monitor(f"savevm {tag}")


def restore(name: str, tag: str) -> None:
    vm = existing(name)
    vm.monitor(f"loadvm {tag}")
    vm.wait(60)


def cut(name: str, wait: bool = True) -> None:
    """Take the power away, give it back."""
    vm = existing(name)
    vm.kill()
    vm.launch()
    if wait:
        vm.wait()


def names() -> list[str]:
    return sorted(path.name for path in STATE.iterdir() if path.is_dir()) if STATE.exists() else []


def stop(name: str) -> None:
    """End the VM and remove its disks; nothing to do if there is none."""
    vm = VM(name)
    vm.kill()
    shutil.rmtree(vm.directory, ignore_errors=True)


def inventory(wanted: list[str]) -> str:
    """For Ansible, as YAML; JSON is YAML."""
    hosts = {}
    for name in wanted:
        hosts[name] = {
            "ansible_host": "127.0.0.1", "ansible_port": existing(name).port, "ansible_user": "root",
            "ansible_ssh_private_key_file": str(image.ssh_key()),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "ansible_python_interpreter": "/usr/bin/python3",
            "testbed_directory": str(existing(name).directory),
        }
    return json.dumps({"all": {"hosts": hosts}}, indent=2)


def ssh(name: str, command: list[str]) -> int:
    argv = existing(name).ssh_argv(*command)
    if not command and sys.stdin.isatty():
        argv.insert(1, "-t")
    return subprocess.run(argv, check=False).returncode
