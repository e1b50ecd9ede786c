"""Runs the lab's Cloud Director: `python -m lab.cloud_director --tls-dir DIR --ready FILE`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import signal
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cloud_director.cloud import OUTCOMES, Cloud, Plan
from lab.cloud_director.server import Running, serve
from lab.paths import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSWORD = "LAB_CLOUD_DIRECTOR_PASSWORD"  # noqa: S105 -- the variable's name


def main(arguments: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.cloud_director",
        description="Simulates a Cloud Director in which guest customization takes time. It is not a VMware product.",
        epilog=f"The user's password comes in the environment variable {PASSWORD}; without it a random one is made.",
    )
    parser.add_argument("--listen", type=_place, default=("127.0.0.1", 0), help="address of the API (HTTPS)")
    parser.add_argument("--control", type=_place, default=("127.0.0.1", 0), help="address of the control endpoint")
    parser.add_argument("--tls-dir", type=Path, required=True, help="folder with ca.pem, server.pem, server-key.pem")
    parser.add_argument("--ready", type=Path, help="file that is written when it serves: addresses and credentials")
    parser.add_argument("--org", default="acme", help="organization, or System for a provider's login")
    parser.add_argument("--user", default="deployer")
    parser.add_argument("--vms", type=int, default=3, help="VMs at the start: web-0, web-1, ...")
    parser.add_argument("--vapp", default="web", help="the vApp that holds them")
    parser.add_argument(
        "--powered-off", action="store_true", help="leave them powered off until the control endpoint powers them on"
    )
    parser.add_argument("--outcome", choices=OUTCOMES, default="succeeded")
    parser.add_argument("--start-delay", type=float, default=0.5, help="seconds from power-on to VMware Tools")
    parser.add_argument("--duration", type=float, default=3.0, help="seconds that a customization takes")
    parser.add_argument("--token-life", type=float, default=86400.0, help="seconds for which a login is good")
    options = parser.parse_args(arguments)

    password = os.environ.pop(PASSWORD, "") or secrets.token_urlsafe(18)
    cloud = Cloud(options.org, options.user, password, options.token_life)
    plan = Plan(options.outcome, options.start_delay, options.duration)
    for number in range(options.vms):
        cloud.add(f"web-{number}", options.vapp, plan, on=not options.powered_off)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with serve(cloud, options.tls_dir, options.listen, options.control) as running:
        if options.ready:
            write_private(options.ready, json.dumps(_facts(running, options.tls_dir)))
        print(f"Cloud Director of the lab at {running.url}, control endpoint at {running.control}", flush=True)
        ended.wait()
    return 0


def _facts(running: Running, tls: Path) -> dict[str, object]:
    cloud = running.cloud
    certificate = ssl.PEM_cert_to_DER_cert((tls / "server.pem").read_text(encoding="ascii"))
    digits = hashlib.sha256(certificate).hexdigest().upper()
    return {
        "server": running.url.partition("://")[2],
        "url": running.url,
        "org": cloud.org,
        "user": cloud.user,
        "password": cloud.password,
        "api_token": cloud.api_token,
        "ca_file": str(tls / "ca.pem"),
        "thumbprint": ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)),
        "control": running.control,
        "token": running.token,
        "pid": os.getpid(),
        "vms": {vm.name: vm.urn for vm in cloud.vms()},
    }


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
