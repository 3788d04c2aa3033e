#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check the health of a host at each boot, and on demand
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Defines a check that tells after each boot whether the host does its work, removes one, or runs checks now. A check
    is a command, systemd units, a URL, a port or a script, tried again until it succeeds or its deadline is over.
  - A check lies in C(/etc) as one sh script, which needs neither Python nor Ansible. So it belongs to a snapshot, and
    judges that one and those made from it. If a snapshot is pending, checks are defined in that one alone, and drop out
    with it; otherwise in the running system. Inside of a transaction, see M(microos.transactional.transaction), they
    are defined in its snapshot. No snapshot is made for it. Where C(/etc) is an overlay (transactional-update before
    5.0) they are defined in the running system, and come into the pending snapshot when that is activated.
  - Where health-checker is installed, as on openSUSE MicroOS, its plugin C(microos-transactional) runs all checks. If a
    required one fails health-checker decides, to go back to the last snapshot that was healthy for instance. Elsewhere
    each check is a unit C(microos-health-NAME.service), which C(multi-user.target) wants, and C(boot-complete.target)
    requires or wants. Where the boot loader counts attempts to boot, an entry is not marked as good if a required check
    failed, and after the last attempt the boot loader takes another one.
  - What checks say at boot is in the journal, C(journalctl -t microos-health-NAME), and so is what they say on demand.
options:
  name:
    description:
      - Name of the check. Needed for O(state=present) and O(state=absent).
      - With O(state=checked), the one to run that is defined; without it all are run that are. With one of O(command),
        O(units), O(url), O(port) and O(script) only a label.
    type: str
  state:
    description:
      - V(present) defines the check as the arguments say, V(absent) removes it.
      - V(checked) runs checks now, all at the same time, and fails if a required one failed. They are those that are
        defined, or the one that the arguments describe, which is not defined by it.
    type: str
    choices: [present, absent, checked]
    default: present
  command:
    description:
      - Succeeds if this command does. A string is a line for C(sh), a list is a program and its arguments, without a
        shell.
      - Programs are looked for in C(/usr/local/sbin), C(/usr/local/bin), C(/usr/sbin) and C(/usr/bin), and run in C(/).
    type: raw
  units:
    description:
      - Succeeds if all of these systemd units are active. Their names need the suffix, as in V(sshd.service).
      - At boot the check comes after them, but does not start them. Where health-checker runs it, they cannot be units
        that come after C(multi-user.target), which itself waits for health-checker.
    type: list
    elements: str
  url:
    description:
      - Succeeds if this HTTP or HTTPS address answers with one of O(status). Redirections are not followed and no proxy
        is used. Needs C(curl) in the snapshot, which openSUSE MicroOS has.
      - It may have a name and a password, as in V(https://name:password@localhost/), with special characters as C(%40)
        for C(@). They and what follows a C(?) are in the check's file, which only root can read, and neither in results
        and differences nor in logs or the list of processes.
    type: str
  status:
    description: Status codes that are right for O(url).
    type: list
    elements: int
    default: [200]
  validate_certs:
    description: Whether the certificate of an HTTPS O(url) has to be valid.
    type: bool
    default: true
  port:
    description: Succeeds if a TCP connection to this port can be made. Needs C(bash) in the snapshot.
    type: int
  host:
    description: Name or address of the host of O(port).
    type: str
    default: 127.0.0.1
  script:
    description:
      - Succeeds if the script with this content does. It is one for C(sh) unless it begins with C(#!) and an
        interpreter.
    type: str
  severity:
    description:
      - Whether the boot, or the task that runs it, fails with the check. One that is V(wanted) only says so.
    type: str
    choices: [required, wanted]
    default: required
  deadline:
    description:
      - Seconds after which the check has failed if it has not succeeded, counted from its start.
      - At boot that is when C(multi-user.target) is reached, or, with health-checker, when that starts. Leave time for
        what starts slowly, and for the network.
    type: int
    default: 60
  retries:
    description: How often to try again after the first attempt. By default as often as there is time for.
    type: int
  delay:
    description: Seconds between two attempts.
    type: int
    default: 5
  timeout:
    description: Seconds after which one attempt is ended. By default 10 for O(url) and O(port), otherwise O(deadline).
    type: int
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
    details:
      - With O(state=checked) nothing is run, and the task is skipped.
  diff_mode:
    support: full
seealso:
  - module: microos.transactional.reboot
notes:
  - If a required check needs what is outside of the host, an outage there undoes a good update. Use O(severity=wanted).
  - Inside of a transaction no service runs. There, O(state=checked) is good for commands that look at files.
  - The files of checks are readable for root only. But each program's arguments can be seen in the list of processes,
    also those of the programs that O(command) or O(script) start, so leave secrets to files and standard input there.
  - O(command) and O(script) are not logged on the host, but they are in differences. Use C(diff=false) for what must
    not be seen there.
  - Health-checker itself should not be run by hand, as it may reboot the host. O(state=checked) never does.
"""

EXAMPLES = r"""
- name: The web server has to run, and to answer, or the host goes back to the snapshot before
  microos.transactional.health_check:
    name: "{{ item.name }}"
    units: "{{ item.units | default(omit) }}"
    url: "{{ item.url | default(omit) }}"
    deadline: 120
  loop:
    - name: web-units
      units: [nginx.service]
    - name: web
      url: https://localhost/health

- name: Say so if the log host cannot be reached, no more
  microos.transactional.health_check:
    name: log-host
    port: 6514
    host: logs.example.com
    severity: wanted

- name: A script of one's own
  microos.transactional.health_check:
    name: data
    script: |
      findmnt /srv/data || exit 1
      test -s /srv/data/index

- name: Is everything well now
  microos.transactional.health_check:
    state: checked
  register: health

- name: Wait for the database, three attempts
  microos.transactional.health_check:
    state: checked
    port: 5432
    retries: 2
    delay: 10

- name: Look at a configuration without defining a check
  microos.transactional.health_check:
    state: checked
    command: [nginx, -t]
    retries: 0

- name: Remove a check
  microos.transactional.health_check:
    name: data
    state: absent
"""

RETURN = r"""
files:
  description: Files of the check that were changed; predicted in check mode.
  type: list
  elements: str
  returned: with O(state=present) and O(state=absent)
  sample: [/etc/microos-transactional/health/required.d/web.sh]
snapshot:
  description: Number of the snapshot whose health the check judges.
  type: int
  returned: with O(state=present) and O(state=absent)
  sample: 2
pending:
  description: Whether the default snapshot differs from the current one, so that a reboot would change something.
  type: bool
  returned: with O(state=present) and O(state=absent)
backend:
  description: What runs the checks at boot, V(health-checker) or V(boot-complete).
  type: str
  returned: with O(state=present) and O(state=absent)
  sample: health-checker
healthy:
  description: Whether all required checks succeeded.
  type: bool
  returned: with O(state=checked)
checks:
  description: The checks that were run.
  type: list
  elements: dict
  returned: with O(state=checked)
  contains:
    name:
      description: Name of the check.
      type: str
      sample: web
    severity:
      description: V(required) or V(wanted).
      type: str
      sample: required
    ok:
      description: Whether it succeeded.
      type: bool
    rc:
      description: Exit code of the last attempt, 124 or 137 if it was ended.
      type: int
      sample: 7
    attempts:
      description: Number of attempts.
      type: int
      sample: 3
    seconds:
      description: Seconds that all attempts took.
      type: int
      sample: 12
    output:
      description: What it printed, the end if that is long.
      type: str
      sample: |-
        curl: (7) Failed to connect to localhost port 80 after 0 ms: Could not connect to server
        attempt 1 failed with exit code 7
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._health_checks import (
    KINDS,
    Definition,
    run_now,
    validate,
)
from ansible_collections.microos.transactional.plugins.module_utils._health_scripts import parse_url


class Module(AnsibleModule):
    def _log_invocation(self):
        """Commands and scripts may hold secrets, which the log of the host must not have."""
        self.log(f"Invoked with name={self.params['name']} state={self.params['state']}")


def main():
    module = Module(
        argument_spec={
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent", "checked"], "default": "present"},
            "command": {"type": "raw"},
            "units": {"type": "list", "elements": "str"},
            "url": {"type": "str", "no_log": True},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "validate_certs": {"type": "bool", "default": True},
            "port": {"type": "int"},
            "host": {"type": "str", "default": "127.0.0.1"},
            "script": {"type": "str"},
            "severity": {"type": "str", "choices": ["required", "wanted"], "default": "required"},
            "deadline": {"type": "int", "default": 60},
            "retries": {"type": "int"},
            "delay": {"type": "int", "default": 5},
            "timeout": {"type": "int"},
        },
        required_if=[("state", "present", ["name"]), ("state", "present", KINDS, True), ("state", "absent", ["name"])],
        mutually_exclusive=[KINDS],
        supports_check_mode=True,
    )
    wanted = dict(module.params)
    address = parse_url(wanted["url"]) if wanted["url"] else None
    if address:
        # the result has it, without what nobody must know
        module.params["url"] = address.shown
        module.no_log_values.discard(wanted["url"])
        module.no_log_values.update(address.secrets)

    def work(host):
        validate(wanted)
        if wanted["state"] != "checked":
            definition = Definition(host, wanted)
            definition.ensure(module.check_mode)
            return definition.result
        if module.check_mode:
            return {"skipped": True, "msg": "no health check is run in check mode"}
        return run_now(wanted, module.warn)

    _module.run(module, work)


if __name__ == "__main__":
    main()
