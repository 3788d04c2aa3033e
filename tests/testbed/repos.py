"""Builds the RPM repositories of the test guests from repos/packages.toml.

    python3 tests/testbed/repos.py ROOTFS TARGET

ROOTFS is an unpacked Debian 13 root with rpm, createrepo-c and gpg; their tools run inside it and leave it as it was.
TARGET becomes a tree to lay over the guest's root:

    /opt/testbed/repos/NAME         the repositories
    /opt/testbed/repos/key.asc      the public key of the good ones: new at each build, the secret one is thrown away
    /etc/zypp/repos.d/testbed-NAME.repo

Afterwards the builder of the image runs in the guest's root, where %_dbpath is set already:

    rpm --import /opt/testbed/repos/key.asc
    rpm --install --justdb --nodeps /opt/testbed/repos/main/noarch/testbed-base-1.0-1.noarch.rpm
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

TABLE = Path(__file__).parent / "repos" / "packages.toml"
HOME = "/opt/testbed/repos"  # visible inside transactions too
EPOCH = "1767225600"  # 2026-01-01: the time in the packages does not depend on that of the build

SPEC = """\
Name: testbed-{name}
Version: {version}
Release: 1
Summary: Package of the testbed
License: GPL-3.0-or-later
BuildArch: noarch
AutoReqProv: no
{relations}

%description
Package of the testbed.

%install
mkdir -p %{{buildroot}}/usr/share/testbed
echo %{{name}} %{{version}} > %{{buildroot}}/usr/share/testbed/%{{name}}
{install}
{scriptlets}
%files
/usr/share/testbed/%{{name}}
{files}
"""

# Mounts and processes (gpg starts an agent) end with the namespaces.
ENTER = """
mount --rbind /dev "$1/dev"
mount --types proc proc "$1/proc"
mount --types tmpfs tmpfs "$1/tmp"
mount --bind "$2" "$1/mnt"
exec chroot "$1" sh -eux
"""

RPM = (
    "--define '_tmppath /tmp' --define '_topdir /tmp/rpmbuild' --define '_dbpath /tmp/rpmdb' "
    "--define '_buildhost testbed' --define 'use_source_date_epoch_as_buildtime 1' "
    "--define 'clamp_mtime_to_source_date_epoch 1' "
    "--define '_binary_payload w1.zstdio' --define '__os_install_post %{nil}'"
)


def build(rootfs: Path, target: Path) -> None:
    """Build everything; `target` must not have repositories yet. A failing tool raises an error with its output."""
    table = tomllib.loads(TABLE.read_text())
    built = {name: repo for name, repo in table["repos"].items() if "baseurl" not in repo}
    with tempfile.TemporaryDirectory(prefix="testbed-repos-") as directory:
        work = Path(directory)
        write_specs(table["packages"], work / "specs")
        script = make_keys() + [line for name, repo in built.items() for line in make_repo(name, repo)]
        run_inside(rootfs, work, script)
        for name, repo in built.items():
            if repo.get("tampered"):
                tamper(work / "repos" / name)
        shutil.copytree(work / "repos", target / HOME.lstrip("/"))
    write_repo_files(table["repos"], target / "etc/zypp/repos.d")


def write_specs(packages: dict, specs: Path) -> None:
    for name, package in packages.items():
        for repo, version in package.get("repos", {"main": "1.0"}).items():
            path = specs / repo / f"{name}.spec"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(spec(name, version, package))


def spec(name: str, version: str, package: dict) -> str:
    tags = ("provides", "requires", "conflicts")
    relations = [f"{tag.capitalize()}: {item}" for tag in tags for item in package.get(tag, [])]
    scriptlets = [f"%{tag}\n{package[tag]}\n" for tag in ("pre", "post") if tag in package]
    install, files = [package.get("install", "")], list(package.get("paths", []))
    for path, content in package.get("files", {}).items():
        mode = "0755" if "/bin/" in path else "0644"
        install.append(f"install -D -m {mode} /dev/stdin %{{buildroot}}{path} <<'END'\n{content.strip()}\nEND")
        files.append(f"%config(noreplace) {path}" if path.startswith("/etc/") else path)
    return SPEC.format(
        name=name,
        version=version,
        relations="\n".join(relations),
        install="\n".join(install),
        scriptlets="\n".join(scriptlets),
        files="\n".join(files),
    )


def make_keys() -> list[str]:
    lines = ["install -d -m 0700 /tmp/gnupg", "mkdir -p /mnt/repos"]
    for key in ("good", "wrong"):
        lines += [
            f"gpg --batch --passphrase '' --quick-generate-key 'testbed {key} <{key}@testbed>' ed25519 sign never",
            f"gpg --armor --export {key}@testbed > /tmp/{key}.asc",
        ]
    return [*lines, "cp /tmp/good.asc /mnt/repos/key.asc"]


def make_repo(name: str, repo: dict) -> list[str]:
    home, packages, metadata = f"/mnt/repos/{name}", repo.get("packages", "good"), repo.get("metadata", "good")
    lines = [f"rpmbuild -bb --quiet --nodeps {RPM} --define '_rpmdir {home}' /mnt/specs/{name}/*.spec"]
    if packages != "none":
        lines += [f"rpmsign --addsign --define '_gpg_name {packages}@testbed' {home}/noarch/*.rpm"]
    lines += [f"createrepo_c --quiet --revision {EPOCH} --set-timestamp-to-revision {home}"]
    if metadata != "none":
        lines += [
            f"gpg --batch --local-user {metadata}@testbed --armor --detach-sign {home}/repodata/repomd.xml",
            f"cp /tmp/{metadata}.asc {home}/repodata/repomd.xml.key",
        ]
    return lines


def run_inside(rootfs: Path, work: Path, script: list[str]) -> None:
    """Run the lines with a shell in the root, where `work` is /mnt and /tmp is a new one."""
    result = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "sh", rootfs, work],
        input="\n".join(script),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": "/tmp",
            "GNUPGHOME": "/tmp/gnupg",
            "SOURCE_DATE_EPOCH": EPOCH,
        },
    )
    if result.returncode:
        raise RuntimeError(f"building the repositories in {rootfs} failed ({result.returncode}):\n{result.stdout}")


def tamper(repo: Path) -> None:
    """Change the last byte of each package: same size, another checksum."""
    for rpm in repo.glob("noarch/*.rpm"):
        content = bytearray(rpm.read_bytes())
        content[-1] ^= 1
        rpm.write_bytes(content)


def write_repo_files(repos: dict, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, repo in repos.items():
        settings = {
            "name": f"testbed-{name}",
            "enabled": int(repo.get("enabled", False)),
            "autorefresh": 0,
            "baseurl": repo.get("baseurl", f"dir://{HOME}/{name}"),
            "gpgcheck": 1,
            **repo.get("options", {}),
        }
        lines = [f"[testbed-{name}]", *(f"{key}={value}" for key, value in settings.items())]
        (directory / f"testbed-{name}.repo").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
