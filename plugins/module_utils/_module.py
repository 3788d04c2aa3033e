# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules of the collection share on their Ansible side.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import signal
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils._errors import Interrupted, TransactionalError
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


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def _interrupted(number, _frame):
    # one is enough: another one must not break the cleaning up. Not SIG_IGN, which commands would inherit
    for other in SIGNALS:
        signal.signal(other, lambda *_about: None)
    raise Interrupted(f"ended by {signal.Signals(number).name}: the connection to the host was lost, or somebody "
                      "cancelled the job or shut the host down")


def run(module: AnsibleModule, work: t.Callable[[Host], dict]) -> t.NoReturn:
    """Run ``work`` on a transactional host; what it returns is the result, its errors name the host.

    A list of ``warnings`` in the result is warned of.
    """
    os.umask(0o022)  # what is written here is the host's, and not the login user's
    name = os.uname().nodename
    try:
        for number in SIGNALS:
            signal.signal(number, _interrupted)
        host = Host()
        host.require_transactional()
        result = work(host)
    except TransactionalError as exc:
        _fail(module, name, exc, **exc.details)
    except OSError as exc:
        _fail(module, name, exc, _of_system(exc))
    except Exception as exc:
        _fail(module, name, exc, f"{type(exc).__name__}: {exc}. This is a fault of the collection; please report it "
                                 "with what -vvv shows", exception=traceback.format_exc())
    for warning in result.pop("warnings", []):
        module.warn(printable(warning))
    module.exit_json(**printable(result))


def _of_system(exc: OSError) -> str:
    """For example ``/run/x: No space left on device``."""
    paths = " and ".join(str(path) for path in (exc.filename, exc.filename2) if path is not None)
    return f"{paths + ': ' if paths else ''}{exc.strerror or exc}"


def _fail(module: AnsibleModule, name: str, exc: Exception, text: str = "", /, **details) -> t.NoReturn:
    outcome = getattr(exc, "outcome", "")  # what became of the snapshot, see _errors.tell
    module.fail_json(**printable(dict(details, msg=f"{name}: {text or exc}{'. ' if outcome else ''}{outcome}")))
