# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run modules in forks of one process that has imported them: half of a module's time is that of its imports."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.forkserver
import os
import pkgutil
import runpy

from ansible.module_utils.testing import patch_module_args

from ansible_collections.microos.transactional.plugins import modules

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload([__name__, *(f"{modules.__name__}.{found.name}"
                                           for found in pkgutil.iter_modules(modules.__path__))])


def start() -> None:
    """Start the server. What it makes in /tmp is there before any test."""
    multiprocessing.forkserver.ensure_running()


def run(module: str, arguments: dict, directory) -> tuple[str, str]:
    """What the module prints to stdout and to stderr; its input is empty."""
    streams = [str(directory / name) for name in ("stdout", "stderr")]
    process = server.Process(target=_child, args=(module, json.dumps(arguments), dict(os.environ), streams))
    process.start()
    process.join()
    process.close()
    texts = []
    for path in streams:
        with open(path, encoding="utf-8") as stream:
            texts.append(stream.read())
    return texts[0], texts[1]


def _child(module: str, arguments: str, environ: dict, streams: list) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    with patch_module_args(json.loads(arguments)):
        runpy.run_module(f"{modules.__name__}.{module}", run_name="__main__")
