"""Builds, boots, waits for, snapshots, restores, power-cuts and stops the test VMs. See README.md beside it."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

import image
import microos
import vm


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, engine: bool = False, vm_name: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if engine:
            sub.add_argument("--engine", choices=image.ENGINES, default="tukit", help="which guest (default: tukit)")
        if vm_name:
            sub.add_argument("name", metavar="NAME")
        return sub

    command("build", "build and boot a guest for the cache, if it is not there", engine=True, vm_name=False)
    kind = command("start", "start a VM from the booted state", engine=True).add_mutually_exclusive_group()
    kind.add_argument("--hardware", action="store_true",
                      help="with more devices: a TPM, an NVMe disk, network cards, a serial port")
    kind.add_argument("--image", help="a real MicroOS image, from its first boot on: a path, a URL, or a name on "
                      "openSUSE's server. It has the engine that it has")
    command("wait", "wait until it has booted").add_argument("--timeout", type=float, default=vm.BOOT_TIMEOUT)
    command("ssh", "run a command or log in").add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    command("inventory", "print an inventory for Ansible", vm_name=False).add_argument(
        "names", nargs="+", metavar="NAME")
    command("snapshot", "save its state").add_argument("tag", metavar="TAG")
    command("restore", "go back to a saved state").add_argument("tag", metavar="TAG")
    command("cut", "take the power away, and give it back").add_argument(
        "--no-wait", action="store_true", help="return before it has booted")
    command("log", "print the end of its serial log").add_argument("-n", "--lines", type=int, default=40)
    command("list", "list the VMs", vm_name=False)
    sub = command("stop", "end it and remove its disks", vm_name=False)
    sub.add_argument("names", nargs="*", metavar="NAME")
    sub.add_argument("--all", action="store_true", help="all VMs of this TESTBED_STATE")
    sub = command("enter", "run a command on a copy of the root disk, without a VM", engine=True, vm_name=False)
    sub.add_argument("--bind", action="append", default=[], metavar="SRC:DST[:ro]", help="a directory to see inside")
    sub.add_argument("argv", nargs="+", metavar="CMD")
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # a first boot ends its QEMU
    options = parse()
    match options.command:
        case "build":
            print(vm.booted(options.engine))
        case "start" if options.image is not None:
            vm.start_image(options.name, microos.image_disk(options.image))
        case "start":
            vm.start(options.name, options.engine, options.hardware)
        case "wait":
            vm.existing(options.name).wait(options.timeout)
        case "ssh":
            return vm.ssh(options.name, options.argv)
        case "inventory":
            print(vm.inventory(options.names))
        case "snapshot":
            vm.snapshot(options.name, options.tag)
        case "restore":
            vm.restore(options.name, options.tag)
        case "cut":
            vm.cut(options.name, not options.no_wait)
        case "log":
            print(vm.VM(options.name).tail(options.lines))
        case "list":
            for name in vm.names():
                print(name, "runs" if vm.VM(name).pid() else "does not run")
        case "stop":
            for name in vm.names() if options.all else options.names:
                vm.stop(name)
        case "enter":
            return image.enter(options.engine, options.bind, options.argv)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (vm.TestbedError, subprocess.CalledProcessError) as error:
        sys.exit(f"testbed: {error}")
