# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which units the activation of a snapshot starts."""

from __future__ import annotations

from ansible_collections.microos.transactional.plugins.module_utils import _services


def link(root, path, target="/usr/lib/systemd/system/x"):
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_what_is_wanted_and_not_masked(tmp_path):
    link(tmp_path, "etc/systemd/system/multi-user.target.wants/a.service")
    link(tmp_path, "usr/lib/systemd/system/sockets.target.requires/b.socket")
    link(tmp_path, "etc/systemd/system/multi-user.target.wants/c.service")
    link(tmp_path, "etc/systemd/system/c.service", "/dev/null")
    link(tmp_path, "etc/systemd/system/alias.service")
    link(tmp_path, "etc/systemd/system/elsewhere.wants", "/")
    assert _services.enabled(str(tmp_path)) == {"a.service", "b.socket"}
    assert _services.enabled(str(tmp_path / "nothing")) == set()


def test_differences():
    before, after = {"a.service", "b.timer", "c@1.service", "d.service"}, {"b.timer", "c@1.service", "d.service", "e"}
    paths = ["/usr/lib/systemd/system/b.timer", "/etc/systemd/system/c@.service.d/local.conf", "/etc/d.service",
             "/etc/systemd/system/x/d.service", "/usr/lib/systemd/system/new.service"]
    assert _services.compare(before, after, paths) == [
        {"name": "a.service", "change": "disabled"}, {"name": "b.timer", "change": "modified"},
        {"name": "c@1.service", "change": "modified"}, {"name": "e", "change": "enabled"}]
