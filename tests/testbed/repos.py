"""Builds the RPM repositories of the test guests from repos/packages.toml.

    python3 tests/testbed/repos.py ROOTFS KERNEL TARGET

ROOTFS is an unpacked Debian 13 root with rpm, createrepo-c and gpg; their tools run inside it and leave it as it was.
KERNEL is a tar file with what the package of a kernel has in /boot and /usr/lib/modules.
TARGET becomes a tree to lay over the guest's root:

    /opt/testbed/repos/NAME         the repositories
    /opt/testbed/repos/key.asc      the public key of the good ones: new at each build, the secret one is thrown away
    /opt/testbed/repos/expired.asc  the key of the repository "expired", which was valid in the year 2020
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
{tags}

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

# What a patch of a repository is to zypper
PATCH = """
<update from="testbed" status="stable" type="{category}" version="1">
<id>{name}</id><title>Patch of the testbed</title><severity>{severity}</severity>
<issued date="1767225600"/><description>Patch of the testbed</description><references/>
<pkglist><collection>{packages}</collection></pkglist>
</update>"""
PATCHED = """
<package name="testbed-{name}" version="{version}" release="1" arch="noarch">
<filename>testbed-{name}-{version}-1.noarch.rpm</filename>{hints}</package>"""
# A licence to agree to; the builder's shell fills in the checksum
SUSEDATA = """<susedata xmlns="http://linux.duke.edu/metadata/susedata" packages="{count}">{packages}</susedata>\n"""
LICENCE = """
<package pkgid="@testbed-{name}-1.0-1.noarch.rpm@" name="testbed-{name}" arch="noarch">
<version epoch="0" ver="1.0" rel="1"/><eula>{text}</eula></package>"""
# What zypper generates from the provides of such packages where its libsolv is built for SUSE
GENERATED = """
<{kind} type="{kind}"><name>{name}</name><arch>noarch</arch><version epoch="0" ver="1.0" rel="1"/>
<summary>Of the testbed</summary><description>Of the testbed</description>
<format><rpm:provides><rpm:entry name="{kind}:{name}" flags="EQ" epoch="0" ver="1.0" rel="1"/></rpm:provides>
<rpm:requires><rpm:entry name="{package}"/></rpm:requires></format></{kind}>"""
MORE_METADATA = r"""
if [ -e /mnt/metadata/{repo}/generated ]; then
    zstdcat {home}/repodata/*-primary.xml.zst | sed '/<.metadata>/d' > /tmp/primary.xml
    cat /mnt/metadata/{repo}/generated >> /tmp/primary.xml
    echo '</metadata>' >> /tmp/primary.xml
    modifyrepo_c --remove primary {home}/repodata
    modifyrepo_c --mdtype=primary /tmp/primary.xml {home}/repodata
fi
for file in /mnt/metadata/{repo}/*.xml; do
    [ -e "$file" ] || continue
    for rpm in $(sed -n 's/.*pkgid="@\(.*\)@".*/\1/p' "$file"); do
        sed -i "s/@$rpm@/$(sha256sum {home}/noarch/"$rpm" | cut -c1-64)/" "$file"
    done
    modifyrepo_c "$file" {home}/repodata
done"""
# When the expired key was valid
THEN = "--faked-system-time=20200601T000000"

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


def build(rootfs: Path, kernel: Path, target: Path) -> None:
    """Build everything; `target` must not have repositories yet. A failing tool raises an error with its output."""
    table = tomllib.loads(TABLE.read_text())
    built = {name: repo for name, repo in table["repos"].items() if "baseurl" not in repo}
    with tempfile.TemporaryDirectory(prefix="testbed-repos-") as directory:
        work = Path(directory)
        packages = {name: package for row in table["packages"].items() for name, package in numbered(*row)}
        write_specs(packages, work / "specs")
        write_metadata(table.get("patches", {}), packages, work / "metadata")
        shutil.copy(kernel, work / "kernel.tar")
        script = make_keys() + [line for name, repo in built.items() for line in make_repo(name, repo)]
        run_inside(rootfs, work, script)
        for name, repo in built.items():
            if repo.get("tampered"):
                tamper(work / "repos" / name)
        shutil.copytree(work / "repos", target / HOME.lstrip("/"))
    write_repo_files(table["repos"], target / "etc/zypp/repos.d")


def numbered(name: str, package: dict) -> list[tuple[str, dict]]:
    """The package, or as many of the same kind as it says."""
    if "count" not in package:
        return [(name, package)]
    return [(f"{name}-{number:03}", package) for number in range(1, package["count"] + 1)]


def write_specs(packages: dict, specs: Path) -> None:
    for name, package in packages.items():
        for repo, version in package.get("repos", {"main": "1.0"}).items():
            path = specs / repo / f"{name}.spec"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(spec(name, version, repo, package))


def spec(name: str, version: str, repo: str, package: dict) -> str:
    relations = ("provides", "requires", "recommends", "supplements", "conflicts")
    tags = [f"{tag.capitalize()}: {item}" for tag in relations for item in package.get(tag, [])]
    tags += [f"Vendor: {vendor}" for vendor in [package.get("vendors", {}).get(repo)] if vendor]
    scriptlets = [f"%{tag}\n{package[tag]}\n" for tag in ("pre", "post", "posttrans") if tag in package]
    install, files = [package.get("install", "")], list(package.get("paths", []))
    for path, content in package.get("files", {}).items():
        mode = "0755" if "/bin/" in path else "0644"
        install.append(f"install -D -m {mode} /dev/stdin %{{buildroot}}{path} <<'END'\n{content.strip()}\nEND")
        files.append(f"%config(noreplace) {path}" if path.startswith("/etc/") else path)
    return SPEC.format(
        name=name,
        version=version,
        tags="\n".join(tags),
        install="\n".join(install),
        scriptlets="\n".join(scriptlets),
        files="\n".join(files),
    )


def write_metadata(patches: dict, packages: dict, metadata: Path) -> None:
    """What createrepo_c does not make: a file NAME.xml for each kind NAME of metadata that a repository has besides."""
    for repo in {repo for patch in patches.values() for repo in patch["packages"]}:
        own = {name: patch for name, patch in patches.items() if repo in patch["packages"]}
        path = metadata / repo / "updateinfo.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(updateinfo(repo, own))
    licences = {name: package["licence"] for name, package in packages.items() if "licence" in package}
    path = metadata / "main" / "susedata.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        SUSEDATA.format(
            count=len(licences),
            packages="".join(LICENCE.format(name=name, text=text) for name, text in licences.items()),
        )
    )
    generated = [
        GENERATED.format(kind=kind, name=name, package=f"testbed-{package}")
        for package, of in packages.items()
        for kind, name in of.get("generated", {}).items()
    ]
    (metadata / "main" / "generated").write_text("".join(generated))


def updateinfo(repo: str, patches: dict) -> str:
    return "<updates>{}</updates>\n".format(
        "".join(
            PATCH.format(
                name=name,
                packages="".join(
                    PATCHED.format(name=package, version=version,
                                   hints="".join(f"<{hint}>True</{hint}>" for hint in patch.get("hints", [])))
                    for package, version in patch["packages"][repo].items()
                ),
                **{"category": "recommended", "severity": "moderate", **patch.get("kind", {})},
            )
            for name, patch in patches.items()
        )
    )


def make_keys() -> list[str]:
    lines = ["install -d -m 0700 /tmp/gnupg", "mkdir -p /mnt/repos"]
    for key in ("good", "wrong", "expired"):
        expires = "2020-12-31" if key == "expired" else "never"
        lines += [
            f"gpg --batch {THEN if key == 'expired' else ''} --passphrase '' "
            f"--quick-generate-key 'testbed {key} <{key}@testbed>' ed25519 sign {expires}",
            f"gpg --armor --export {key}@testbed > /tmp/{key}.asc",
        ]
    return [*lines, "cp /tmp/good.asc /mnt/repos/key.asc", "cp /tmp/expired.asc /mnt/repos/expired.asc"]


def make_repo(name: str, repo: dict) -> list[str]:
    home, packages, metadata = f"/mnt/repos/{name}", repo.get("packages", "good"), repo.get("metadata", "good")
    lines = [f"rpmbuild -bb --quiet --nodeps {RPM} --define '_rpmdir {home}' /mnt/specs/{name}/*.spec"]
    if packages != "none":
        then = f"--define '_gpg_sign_cmd_extra_args {THEN}'" if packages == "expired" else ""
        lines += [f"rpmsign --addsign {then} --define '_gpg_name {packages}@testbed' {home}/noarch/*.rpm"]
    lines += [
        f"createrepo_c --quiet --revision {EPOCH} --set-timestamp-to-revision {home}",
        MORE_METADATA.format(repo=name, home=home),
    ]
    if metadata != "none":
        then = THEN if metadata == "expired" else ""
        lines += [
            f"gpg --batch {then} --local-user {metadata}@testbed --armor --detach-sign {home}/repodata/repomd.xml",
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
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    build(Path(sys.argv[1]).resolve(), *map(Path, sys.argv[2:]))
