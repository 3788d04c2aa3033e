# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives a guest a repository with NVIDIA's drivers, as packages of the real names.

Run it inside the guest. A driver is one of the guest's kernel, as no card can be had: modprobe knows it as nvidia, the
kernel as ifb, and its parameter is numifbs. The newest does not fit the kernel, the oldest is for another one.
"""

import lzma
import subprocess
from pathlib import Path

HOME = Path("/opt/nvidia")  # visible inside transactions too
SPEC = """
Name: {name}
Version: {version}
Release: 1
Summary: Stand-in
License: GPL-3.0-or-later
AutoReqProv: no
{tags}
%description
Stand-in
%install
{install}
{post}
%files
{files}
"""
OPEN, CUDA, PROPRIETARY = (
    "nvidia-open-driver-G06-signed-kmp", "nvidia-open-driver-G06-signed-cuda-kmp", "nvidia-driver-G06-kmp")
KERNEL = "$(ls /usr/lib/modules | sort -V | tail -n 1)"
MODULE = "/usr/lib/modules/*/updates/nvidia.ko.xz"
SIGNED = b"~Module signature appended~\n"  # behind the signature, and behind 12 bytes that end with its length


def spec(name, version, files, install="", tags="", post=""):
    install = install or f"install -D -m 755 /bin/true %{{buildroot}}{files}"
    return SPEC.format(name=name, version=version, tags=tags, install=install, post=post, files=files)


def driver(name, version, source, kernel=None):
    """As SUSE's macros make packages of drivers: those for several kernels may be there side by side."""
    conflicts = "\n".join(f"Conflicts: {other}-default" for other in (OPEN, CUDA, PROPRIETARY) if other != name)
    scriptlets = "" if kernel else f"%post\ndepmod {KERNEL}\n%postun\ndepmod {KERNEL}"
    return spec(f"{name}-default", f"{version}_k{kernel or '6.12.1'}", MODULE,
                f"install -D -m 644 {source} %{{buildroot}}{MODULE.replace('*', kernel or KERNEL)}",
                f"Provides: {name} = {version}\nProvides: multiversion(kernel)\n{conflicts}", scriptlets)


def module_of(version):
    """A real module of the guest's kernel that tells a version, as that of NVIDIA does, without the signature."""
    old = (b"description=Intermediate Functional Block (ifb) netdevice driver for sharing of resources and ingress "
           b"packet queuing")
    new = f"version={version}\0description=".encode()
    data = lzma.open(next(Path("/usr/lib/modules").glob("*/kernel/drivers/net/ifb.ko.xz"))).read()
    assert data.count(old) == 1
    if data.endswith(SIGNED):
        data = data.removesuffix(SIGNED)
        data = data[:-12 - int.from_bytes(data[-4:], "big")]
    path = HOME / f"{version}.ko.xz"
    path.write_bytes(lzma.compress(data.replace(old, new.ljust(len(old), b"x")), check=lzma.CHECK_CRC32))
    return path


def shell(script):
    subprocess.run(["sh", "-euc", script], cwd=HOME, check=True)


def main():
    HOME.mkdir()
    shell("rpm2cpio /opt/testbed/repos/main/noarch/testbed-driver-misfit-*.rpm | cpio --quiet -id './usr/lib/*'")
    misfit, = HOME.glob("usr/lib/modules/*/updates/*")
    utils = "nvidia-compute-utils-G06"
    for number, text in enumerate([
            driver(OPEN, "570.1", module_of("570.1"), "0.1_other"), driver(OPEN, "590.1", misfit),
            *(driver(name, version, module_of(version)) for name, version in (
                (OPEN, "580.95.05"), (PROPRIETARY, "580.95.05"), (CUDA, "585.1"))),
            *(spec(utils, version, "/usr/bin/nvidia-smi") for version in ("570.1", "580.95.05", "590.1")),
            spec("nvidia-gl-G06", "570.1", "/usr/bin/nvidia-gl"),
            spec("nvidia-container-toolkit", "1.18", "/usr/bin/nvidia-ctk")]):
        (HOME / f"{number}.spec").write_text(text)
    shell("rpmbuild -bb --quiet --nodeps --define '_rpmdir repo' --define '_topdir /opt/nvidia/build' "
          "--define '_build_id_links none' --define 'debug_package %{nil}' *.spec; rm -r build; "
          "createrepo_c --quiet repo")
    Path("/etc/zypp/repos.d/nvidia.repo").write_text(
        f"[nvidia]\nenabled=1\nautorefresh=0\ngpgcheck=0\nbaseurl=dir://{HOME}/repo\n")
    # as openSUSE has it
    Path("/etc/zypp/zypp.conf").write_text("[main]\nmultiversion = provides:multiversion(kernel)\n")


if __name__ == "__main__":
    main()
