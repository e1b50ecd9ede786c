"""Ansible's own waiting code: `python -m benchmarks.ansible_module READY_FILE SECONDS`, by Ansible's Python.

The code that waits is that of the collection `community.vmware`, untouched: `PyVmomiHelper.wait_for_customization` of
the module `vmware_guest`, with the connection that the helper makes for itself. A stub is in place of
`AnsibleModule`, which Ansible's own start-up would make, and a thread in place of each of the processes that Ansible
has per VM. So sessions, calls, latency and verdicts are Ansible's; the memory of one process is that of one
VM, and Ansible needs as much again for each VM that it waits for at the same time.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import threading
from pathlib import Path
from typing import Any

from pyVim.connect import Disconnect
from pyVmomi import vim

from benchmarks.progress import BROKE_OFF, FAILED, SUCCEEDED, TIMED_OUT, Progress
from benchmarks.vms import list_vms


class _StubModule:
    """What the helper needs of an `AnsibleModule`: the parameters, and a place for warnings."""

    def __init__(self, lab: dict[str, Any]) -> None:
        host, _, port = lab["server"].partition(":")
        self.params = {
            "hostname": host,
            "port": int(port),
            "username": lab["user"],
            "password": lab["password"],
            "validate_certs": True,
            "proxy_host": None,
            "proxy_port": None,
            "datacenter": None,
        }
        self.warnings: list[str] = []

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def fail_json(self, msg: str, **_more: Any) -> None:
        raise RuntimeError(msg)


def main() -> None:
    """Waits for all VMs at once and prints what the module reported of each."""
    vmware_guest = importlib.import_module("ansible_collections.community.vmware.plugins.modules.vmware_guest")
    ready, seconds = sys.argv[1:]
    # A connection per VM: more than the usual thousand files.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lab = json.loads(Path(ready).read_text(encoding="utf-8"))
    progress = Progress()
    finder = vmware_guest.PyVmomiHelper(_StubModule(lab))
    moids = [vm._GetMoId() for vm in list_vms(finder.content)]  # noqa: SLF001 -- pyVmomi has no public name for it
    Disconnect(finder.si)
    set_up = threading.Barrier(len(moids) + 1)

    def wait(moid: str) -> None:
        module = _StubModule(lab)
        try:
            helper = vmware_guest.PyVmomiHelper(module)
        except BaseException:
            set_up.abort()
            raise
        vm = vim.VirtualMachine(moid, helper.content.eventManager._stub)  # noqa: SLF001 -- the same
        set_up.wait()
        try:
            has_succeeded = helper.wait_for_customization(vm, timeout=float(seconds))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the module's run would end with it
            progress.report(moid, BROKE_OFF, type(error).__name__.rpartition(".")[2])
            return
        detail = "; ".join(module.warnings)
        progress.report(moid, SUCCEEDED if has_succeeded else TIMED_OUT if "timed out" in detail else FAILED, detail)

    progress.began()
    waits = [threading.Thread(target=wait, args=(moid,)) for moid in moids]
    for one in waits:
        one.start()
    set_up.wait()
    progress.watching()
    for one in waits:
        one.join()
    progress.finish()


if __name__ == "__main__":
    main()
