# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules of the collection share on their Ansible side.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import signal
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._text import printable

ENGINE_ARGUMENT = {"type": "str", "choices": ["auto", "tukit", "snapper"], "default": "auto"}
METHODS = ["auto", "reboot", "soft_reboot", "kexec", "apply", "rebootmgr", "host"]
# Of modules that bring their snapshot into effect on request; done by the action plugin of the same name
ACTIVATE_ARGUMENTS = {
    "activate": {"type": "str", "choices": ["none"] + METHODS, "default": "none"},
    "reboot_timeout": {"type": "int"},
    "trial": {"type": "int"},
}


def _interrupted(number, _frame):
    raise TransactionalError(f"ended by signal {number}")


def run(module: AnsibleModule, work: t.Callable[[Host], dict]) -> t.NoReturn:
    """Run ``work`` on a transactional host; what it returns is the result, its errors name the host.

    A list of ``warnings`` in the result is warned of.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _interrupted)
    # whatever the login has, nobody else writes where this makes files and directories
    os.umask(0o022)
    host = Host()
    try:
        host.require_transactional()
        result = work(host)
    except TransactionalError as exc:
        module.fail_json(**printable(dict(exc.details, msg=f"{host.name}: {exc}")))
    except OSError as exc:  # a full disk, for instance
        paths = " and ".join(str(path) for path in (exc.filename, exc.filename2) if path is not None)
        module.fail_json(msg=printable(f"{host.name}: {paths + ': ' if paths else ''}{exc.strerror or exc}"))
    for warning in result.pop("warnings", []):
        module.warn(printable(warning))
    module.exit_json(**printable(result))
