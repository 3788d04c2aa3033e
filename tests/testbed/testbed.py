#!/usr/bin/env python3
"""Builds, boots, waits for, snapshots, restores, power-cuts and stops the test VMs. See README.md beside it."""

from __future__ import annotations

import argparse
import sys

import image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    def with_engine(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("--engine", choices=image.ENGINES, default="tukit", help="which guest (default: tukit)")
        return sub

    with_engine(command("build", "build the disks of a guest, if they are not in the cache"))
    sub = with_engine(command("enter", "run a command on a copy of the root disk, without a VM"))
    sub.add_argument("--bind", action="append", default=[], metavar="SRC:DST[:ro]", help="a directory to see inside")
    sub.add_argument("argv", nargs="+", metavar="CMD")

    options = parser.parse_args()
    if options.command == "build":
        print(image.image(options.engine))
    elif options.command == "enter":
        return image.enter(options.engine, options.bind, options.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
