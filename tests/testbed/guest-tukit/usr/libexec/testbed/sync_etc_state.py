"""Three-way merge of /etc: what changed in the old system since the syncpoint is done in the new snapshot as well.

What the new snapshot has changed itself stays as it is. Contents are not compared, but what changes with them: mode,
owner, size, time in seconds, extended attributes. Stand-in for transactional-update's program, same call, same rules.
"""

import argparse
import os
import shutil
import stat
import subprocess
import sys

SYNCPOINT = "etc.syncpoint"


def state(top):
    """Of all below ``top``, by relative path."""
    found = {}
    for directory, directories, files in os.walk(top):
        if directory == top and SYNCPOINT in directories:
            directories.remove(SYNCPOINT)
        for name in directories + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            attributes = {key: os.getxattr(path, key, follow_symlinks=False)
                          for key in os.listxattr(path, follow_symlinks=False)}
            found[os.path.relpath(path, top)] = (
                info.st_mode, info.st_uid, info.st_gid, int(info.st_mtime), info.st_size, attributes)
    return found


def changed(now, reference):
    return {path for path in now.keys() | reference.keys() if now.get(path) != reference.get(path)}


def copy(source, target):
    info = os.lstat(source)
    if not os.path.isdir(os.path.dirname(target)):
        print(f'Parent directory of "{target}" was deleted in new snapshot - skipping file...')
        return
    if stat.S_ISDIR(info.st_mode):
        if os.path.islink(target) or os.path.isfile(target):
            os.unlink(target)
        os.makedirs(target, exist_ok=True)
        finished = target
    elif stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
        if os.path.isdir(target) and not os.path.islink(target):
            shutil.rmtree(target)
        finished = f"{target}.sync"  # renamed at the end: a power cut must not leave half a file
        if os.path.lexists(finished):
            os.unlink(finished)
        shutil.copyfile(source, finished, follow_symlinks=False)
    else:
        print(f'Unsupported file type for file "{source}"', file=sys.stderr)
        return
    os.chown(finished, info.st_uid, info.st_gid, follow_symlinks=False)
    shutil.copystat(source, finished, follow_symlinks=False)
    if finished != target:
        os.rename(finished, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep-syncpoint", action="store_true")
    parser.add_argument("old", help="/etc of the system that ran until now")
    parser.add_argument("new", help="/etc of the new snapshot, which is changed")
    parser.add_argument("reference", help="what both looked like in the beginning")
    options = parser.parse_args()
    for path in (options.old, options.new, options.reference):
        if not os.path.isdir(path):  # else all would seem deleted there
            sys.exit(f"{path} is no directory")
    old, new, reference = state(options.old), state(options.new), state(options.reference)
    paths = sorted(changed(old, reference) - changed(new, reference))
    for path in paths:
        target = os.path.join(options.new, path)
        if path in old:
            print(f'Copying "./{path}"')
            copy(os.path.join(options.old, path), target)
        # directories stay, empty, as with the real program
        elif os.path.lexists(target) and not stat.S_ISDIR(new[path][0]):
            print(f'Deleting "./{path}"')
            os.unlink(target)
    if not options.keep_syncpoint:
        os.sync()  # all of it must be on the disk before a second try becomes impossible
        subprocess.run(["btrfs", "-q", "subvolume", "delete", options.reference], check=True)


if __name__ == "__main__":
    main()
