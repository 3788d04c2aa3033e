# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The testbed's own modules can be imported, and there are OpenPGP keys made on the spot."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


class Gpg:
    """A key ring of its own, with secret keys without a passphrase."""

    def __init__(self, home):
        self.home = home
        self.env = dict(os.environ, GNUPGHOME=str(home))

    def run(self, *argv, when=None, **kwargs):
        """``when``: the time that it believes it is, as 20200131T000000."""
        time = ["--faked-system-time", when] if when else []
        done = subprocess.run(["gpg", "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase",
                               "", *time, *map(str, argv)], env=self.env, capture_output=True, check=False, **kwargs)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, name, expires="never", usage="sign", **kwargs):
        """Its fingerprint."""
        self.run("--quick-generate-key", name, "ed25519", usage, expires, **kwargs)
        return self.fingerprints(name)[0]

    def fingerprints(self, name):
        listed = self.run("--list-keys", "--with-colons", name).decode().splitlines()
        return [line.split(":")[9] for line in listed if line.startswith("fpr:")]

    def sign(self, name, file, *options, **kwargs):
        """A detached signature as text."""
        return self.run("--local-user", name, *options, "--armor", "--output", "-", "--detach-sign", file, **kwargs)

    def export(self, *names, armor=True):
        return self.run(*["--armor"] * armor, "--export", *names)


@pytest.fixture(scope="session")
def gpg(tmp_path_factory):
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    yield Gpg(home)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
