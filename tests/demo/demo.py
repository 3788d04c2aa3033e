# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Play the main story on a real VM with the real ansible-playbook, or log in to one (``--shell``)."""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TESTBED = HERE.parent / "testbed" / "testbed.py"
VM = "demo"
START = time.monotonic()


def say(text: str) -> None:
    print(f"\n\033[1m[{time.monotonic() - START:4.0f} s] {text}\033[0m", flush=True)


def testbed(*args: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TESTBED, *args], check=False, **kwargs)


def on_host(command: str) -> subprocess.CompletedProcess:
    """Run a command on the VM and show it as if it had been typed there."""
    print(f"microos# {command}", flush=True)
    done = testbed("ssh", VM, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout.rstrip(), flush=True)
    return done


def table() -> None:
    on_host("snapper list --columns number,active,default,read-only,description")


def play(inventory: str, name: str, succeeds: bool = True) -> None:
    """Run a playbook; the demo ends if it does not end as the story says."""
    print(f"$ ansible-playbook -i inventory.yml {name}", flush=True)
    done = subprocess.run(["ansible-playbook", "-i", inventory, str(HERE / name)], check=False)
    if (done.returncode == 0) != succeeds:
        raise SystemExit(f"{name} ended with exit code {done.returncode}, which is not the story")


def expect(done: subprocess.CompletedProcess, succeeds: bool) -> None:
    if (done.returncode == 0) != succeeds:
        raise SystemExit(f"that ended with exit code {done.returncode}, which is not the story")


def story(inventory: str) -> None:
    say("This is a transactional host: its root is a read-only snapshot.")
    expect(on_host("touch /usr/probe"), False)
    table()

    say("A package is installed. It goes into a new snapshot, made from the running one.")
    play(inventory, "install.yml")
    say("The new snapshot is the default for the next boot. The running system does not have the package yet.")
    table()
    expect(on_host("testbed-hello"), False)

    say("The host reboots. The task succeeds only if it comes back on the new snapshot.")
    play(inventory, "reboot.yml")
    say("Now the package is there.")
    table()
    expect(on_host("testbed-hello"), True)

    say("Another package has a broken scriptlet. The task fails and says why ...")
    play(inventory, "broken.yml", succeeds=False)
    say("... and nothing is left behind: no snapshot, and the default is the same.")
    table()

    say("The first change is taken back: the snapshot from before becomes the default, and the host reboots into it.")
    play(inventory, "rollback.yml")
    say("The package is gone.")
    table()
    expect(on_host("testbed-hello"), False)


def shell(inventory: str) -> None:
    say("Your VM. In another terminal, run playbooks on it with:")
    print(f"  ANSIBLE_COLLECTIONS_PATH={os.environ.get('ANSIBLE_COLLECTIONS_PATH', '')} "
          f"{pathlib.Path(sys.executable).parent}/ansible-playbook -i {inventory} {HERE}/install.yml\n"
          "Packages to try: testbed-hello, testbed-app; broken ones: testbed-pre-fails, testbed-missing-dep, ...\n"
          "Leave the shell with 'exit'; the VM is stopped then.\n", flush=True)
    testbed("ssh", VM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["tukit", "snapper"], default="tukit", help="which guest (default: tukit)")
    parser.add_argument("--shell", action="store_true", help="log in to a fresh VM instead of playing the story")
    options = parser.parse_args()
    os.environ.update(ANSIBLE_PIPELINING="true", ANSIBLE_CALLBACK_RESULT_FORMAT="yaml")
    with tempfile.TemporaryDirectory(prefix="microos-demo-") as directory:
        os.environ["TESTBED_STATE"] = directory
        try:
            say("A VM is built (the first time only) and started. Without KVM this takes a while.")
            if testbed("start", VM, "--engine", options.engine).returncode != 0:
                raise SystemExit("the VM did not start, see above")
            inventory = os.path.join(directory, "inventory.yml")
            with open(inventory, "w", encoding="utf-8") as stream:
                if testbed("inventory", VM, stdout=stream).returncode != 0:
                    raise SystemExit("the VM has no address, see above")
            if options.shell:
                shell(inventory)
            else:
                story(inventory)
        finally:
            testbed("stop", VM)
    if not options.shell:
        say("The VM is stopped. To log in to one and play on: make demo-shell")


if __name__ == "__main__":
    main()
