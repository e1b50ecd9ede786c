"""`customization-gate` as people run it: a process of its own against the lab's servers, on real sockets."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from defusedxml import ElementTree
from pyVmomi import vim

from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import Cloud, Plan, vapp_uuid
from lab.cloud_director.server import serve
from lab.paths import Home
from tests.lab.shell import PROGRAM, WAIT, Shell, clean_environment, connected_to
from tests.lab.vcenter_fixture import TEST_TIMEOUT, VCenter, finish, linux, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    with running(tmp_path_factory.mktemp("vcenter")) as vcenter:
        yield vcenter


@pytest.fixture
def shell(vcenter: VCenter) -> Shell:
    return connected_to(vcenter.lab)


def customized(vcenter: VCenter, count: int = 1, **plan: str) -> list[Any]:
    """Returns VMs that are being customized."""
    return [vcenter.clone(custom=linux(), plan=plan) for _ in range(count)]


# ---- wait, status, events


def test_wait_ends_when_all_are_customized(vcenter: VCenter, shell: Shell) -> None:
    """The report has the times of power-on, start, completion and readiness of each VM, in that order."""
    vms = customized(vcenter, 3, duration="500ms")

    completed = shell("wait", *(vm.name for vm in vms), "--output", "json")

    assert completed.returncode == 0, completed.stderr
    document = json.loads(completed.stdout)
    assert {vm.name: "CustomizationSucceeded" for vm in vms} == document["statuses"]
    for result in document["results"].values():
        times = [result[name] for name in ("powered_on_at", "started_at", "completed_at", "ready_at")]
        assert times == sorted(times)
        assert result["evidence"] == "event"
    assert "3 of 3 customized after" in completed.stderr


def test_wait_reports_a_failure_with_everything_that_the_server_said(vcenter: VCenter, shell: Shell) -> None:
    """One failure of two: exit status 1, class, text and log of the failure, and the other VM's success."""
    plan = {"outcome": "CustomizationSysprepFailed", "message": "no licence", "logLocation": "C:\\log"}
    [bad], [good] = customized(vcenter, 1, **plan), customized(vcenter)

    result = shell("wait", bad.name, good.name)

    assert result.returncode == 1
    assert re.search(rf"{bad.name} \(vm-\d+\)  CustomizationSysprepFailed at .*Z: no licence", result.stdout)
    assert "guest log: C:\\log" in result.stdout
    assert f"{good.name} ({good._moId})  CustomizationSucceeded in" in result.stdout
    assert f"replace {bad.name} and run the command again" in result.stdout


def test_wait_gives_up_when_its_time_is_over(vcenter: VCenter, shell: Shell) -> None:
    """Exit status 3, with what is known of the VM and the likely cause."""
    [vm] = customized(vcenter, outcome="never-ends")

    result = shell("wait", vm.name, "--timeout", "2")

    assert result.returncode == 3
    assert f"{vm.name} ({vm._moId})  Timeout in CustomizationStarted" in result.stdout
    assert "likely cause: the customization does not end in the guest" in result.stdout


def test_status_shows_status_and_progress(vcenter: VCenter, shell: Shell) -> None:
    """A VM in the middle of its customization, one that is done, and one that is not there."""
    [running_], [done] = customized(vcenter, outcome="never-ends"), customized(vcenter)
    assert shell("wait", done.name).returncode == 0
    deadline = time.monotonic() + TEST_TIMEOUT
    while "CustomizationStarted" not in shell("status", running_.name).stdout:
        assert time.monotonic() < deadline

    result = shell("status", running_.name, done.name, "-o", "json")
    gone = shell("status", done.name, "vm-4711")

    assert result.returncode == 3
    expected = {running_.name: "CustomizationStarted", done.name: "CustomizationSucceeded"}
    assert json.loads(result.stdout)["statuses"] == expected
    assert gone.returncode == 1
    assert "vm-4711  NotFound: " in gone.stdout
    assert f"{done.name} ({done._moId})  CustomizationSucceeded" in gone.stdout


def test_events_shows_the_history_in_its_order(vcenter: VCenter, shell: Shell) -> None:
    """Power-on, start and end, as text and as JSON."""
    [vm] = customized(vcenter, outcome="CustomizationLinuxIdentityFailed", message="told by\x9b2J the guest")
    assert shell("wait", vm.name).returncode == 1

    result = shell("events", vm.name)
    document = json.loads(shell("events", vm._moId, "-o", "json").stdout)

    expected = ["VmStartingEvent", "VmPoweredOnEvent", "CustomizationStartedEvent", "CustomizationLinuxIdentityFailed"]
    assert [line.split()[4] for line in result.stdout.splitlines()] == expected
    assert [event["event"] for event in document] == expected
    assert document[-1]["message"] == "told by the guest"
    assert "\x9b" not in result.stdout


@pytest.mark.parametrize("output", ["text", "json"])
def test_events_that_may_not_be_read_are_named(vcenter: VCenter, shell: Shell, output: str) -> None:
    """An empty output alone would mean a VM without events."""
    [vm] = customized(vcenter)
    rule = vcenter.lab.add_fault("NoPermission", method="QueryEvents")
    try:
        result = shell("events", vm.name, "-o", output)
    finally:
        vcenter.done("DELETE", f"/faults/{rule}")

    message = f"customization-gate: not all events of {vm.name} ({vm._moId}) could be read: NoPermission"
    assert result.stderr.startswith(message)
    assert "no events" not in result.stderr


def test_events_of_a_vm_that_is_not_there_are_wrong_usage(shell: Shell) -> None:
    """An empty output would mean a VM without events."""
    result = shell("events", "vm-4711")

    assert result.returncode == 2
    assert "has no virtual machine vm-4711" in result.stderr


def test_wait_takes_conditions_that_hold_after_success(vcenter: VCenter, shell: Shell) -> None:
    """Guest operations, and checks in short form and as JSON; one that does not hold is named at the time-out."""
    (vm,) = customized(vcenter)
    conditions = ["--ready-when", "guest_operations", "--settle", "0.1", "--check", "address"]

    good = shell("wait", vm.name, *conditions, "--timeout", "1m")
    bad = shell("wait", vm.name, "--check", '{"kind": "host_name", "value": "another"}', "--timeout", "2s")

    assert good.returncode == 0, good.stderr
    assert (bad.returncode, "host_name: expected 'another'" in bad.stdout) == (3, True)


# ---- doctor


def findings(result: Any) -> dict[tuple[str, str], str]:
    """Returns the state of each finding, by check and subject."""
    return {(found["check"], found["subject"]): found["state"] for found in json.loads(result.stdout)["findings"]}


def test_doctor_finds_a_vcenter_that_a_wait_can_work_with(vcenter: VCenter, shell: Shell) -> None:
    """The settings of a template that runs are read in its guest, and nothing stays on the server."""
    golden = vcenter.clone("golden", custom=linux())
    until(lambda: golden.guest.guestOperationsReady)
    vcenter.lab.reset_stats()
    login = {"GUEST_USER": vcenter.lab.guest_user, "GUEST_PASSWORD": vcenter.lab.guest_password}

    result = shell("doctor", "golden", "--folder", "/DC0/vm", "--template", "golden", "-o", "json", **login)

    found, label = findings(result), f"golden ({golden._moId})"
    assert result.returncode == 0, result.stdout
    assert [check for (check, _), state in found.items() if state != "ok"] == ["esxi_host"]  # the lab's have no DNS
    for check in ("vm", "privileges", "guest_privileges", "template", "vmware_tools", "deploypkg"):
        assert (check, label) in found
    stats = vcenter.done("GET", "/stats")
    assert (stats["sessions"], stats["collectors"]) == (1, 0)  # the session is the test's


@pytest.mark.parametrize(
    ("environment", "check"),
    [
        pytest.param({"VSPHERE_SERVER": "no-such-host.invalid"}, "name_resolution", id="a-name-that-does-not-resolve"),
        pytest.param({"VSPHERE_SERVER": "127.0.0.1:1"}, "connection", id="no-server"),
        pytest.param({"VSPHERE_CA_FILE": ""}, "certificate", id="a-certificate-that-is-not-trusted"),
        pytest.param({"VSPHERE_PASSWORD": "wrong"}, "login", id="a-wrong-password"),
    ],
)
def test_doctor_ends_with_the_first_thing_that_makes_the_server_useless(
    shell: Shell, environment: dict[str, str], check: str
) -> None:
    """What comes before it is good, and what depends on it is not tried."""
    result = shell("doctor", "-o", "json", **environment)
    *before, last = findings(result).items()

    assert result.returncode == 4
    assert (last[0][0], last[1]) == (check, "failed")
    assert all(state == "ok" for _, state in before)


def test_doctor_names_what_a_user_may_not_see(vcenter: VCenter, shell: Shell) -> None:
    """A VM without permission has a finding with what to grant."""
    vm = vcenter.clone("secret-0")
    rule = vcenter.lab.add_fault("no_permission", vm="secret-0")
    try:
        result = shell("doctor", vm._moId, "nobody", "-o", "json")
    finally:
        vcenter.done("DELETE", f"/faults/{rule}")

    assert result.returncode == 1
    assert [subject for (check, subject), state in findings(result).items() if state == "failed"] == [
        "nobody",
        vm._moId,
    ]


# ---- what names VMs


@pytest.fixture(scope="module")
def folders(vcenter: VCenter) -> dict[str, Any]:
    """VMs in folders, two of them of one name."""
    inner = vcenter.template.parent.CreateFolder("tree")
    vms = {"a": vcenter.clone("tree-a"), "b": vcenter.clone("tree-b")}
    finish(inner.MoveIntoFolder_Task([vms["b"]]))
    vms["c"] = vcenter.clone("tree-c")
    finish(inner.CreateFolder("deep").MoveIntoFolder_Task([vms["c"]]))
    vms["twin"] = vcenter.clone("twin")
    finish(inner.MoveIntoFolder_Task([vms["twin"]]))
    vms["other twin"] = vcenter.clone("twin")
    return vms


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["tree-?"], ["tree-a", "tree-b", "tree-c"], id="a-pattern-of-names"),
        pytest.param(["/DC0/vm/tree/*-b"], ["tree-b"], id="a-pattern-of-one-folder"),
        pytest.param(["/DC0/vm/tree/**/tree-*"], ["tree-b", "tree-c"], id="a-pattern-of-folders"),
        pytest.param(["/DC0/vm/tree/deep/tree-c", "tree-c"], ["tree-c"], id="a-path-and-the-name-of-the-same"),
    ],
)
@pytest.mark.usefixtures("folders")
def test_words_are_looked_up_in_the_inventory(shell: Shell, words: list[str], expected: list[str]) -> None:
    """Names, paths and patterns find VMs wherever they are, each once."""
    result = shell("status", *words, "-o", "json")

    assert sorted(json.loads(result.stdout)["statuses"]) == expected


@pytest.mark.usefixtures("folders")
def test_lines_of_govc_find_are_read(vcenter: VCenter, shell: Shell) -> None:
    """Paths without their datacenter, and IDs with their type."""
    result = shell(
        "wait", "-", "-o", "json", "--expect", "optional", stdin=f"vm/tree/tree-b\n{vcenter.find('tree-a')._moId}"
    )
    typed = shell("status", f"VirtualMachine:{vcenter.find('tree-c')._moId}", "-o", "json")

    assert sorted(json.loads(result.stdout)["results"]) == ["tree-a", "tree-b"]
    assert sorted(json.loads(typed.stdout)["results"]) == ["tree-c"]


def test_a_name_with_a_slash_is_found_and_shown_as_people_write_it(vcenter: VCenter, shell: Shell) -> None:
    """The vCenter has it with %2f."""
    finish(vcenter.clone("shop-db").Rename_Task("shop%2fdb"))

    for word in ("shop/db", "shop%2Fdb", "/DC0/vm/shop/db", "shop*"):
        assert list(json.loads(shell("status", word, "-o", "json").stdout)["statuses"]) == ["shop/db"]


def test_all_kinds_of_references_name_one_vm(shell: Shell, folders: dict[str, Any]) -> None:
    """However often and however it is named, it is judged once."""
    vm = folders["a"]
    words = ["tree-a", "/DC0/vm/tree-a", vm._moId, vm.config.uuid, vm.config.instanceUuid.upper(), "tree-[a]"]

    result = shell("status", "-", "-o", "json", stdin="\n".join(words))

    assert list(json.loads(result.stdout)["statuses"]) == ["tree-a"]


@pytest.mark.usefixtures("folders")
def test_a_shared_name_is_refused_with_both_paths(shell: Shell) -> None:
    """A wait on the wrong one of two would be worse than none."""
    result = shell("wait", "twin")

    assert result.returncode == 2
    assert "2 virtual machines are named 'twin': " in result.stderr
    assert "/DC0/vm/tree/twin (vm-" in result.stderr
    assert "/DC0/vm/twin (vm-" in result.stderr


def test_the_inventory_is_read_once_for_all_words(vcenter: VCenter, shell: Shell) -> None:
    """Calls do not grow with the number of VMs."""
    counted = []
    for vms in (customized(vcenter, 2), customized(vcenter, 8)):
        assert shell("wait", *(vm.name for vm in vms)).returncode == 0
        vcenter.lab.reset_stats()
        assert shell("status", *(vm.name for vm in vms)).returncode == 0
        counted.append(vcenter.lab.stats())

    few, many = counted
    assert many["calls"]["CreateContainerView"] == many["calls"]["DestroyView"] == 1
    assert many["calls"]["RetrievePropertiesEx"] == few["calls"]["RetrievePropertiesEx"]
    assert many["collectors"] == 0


# ---- the login


def test_a_wrong_password_is_sent_once(vcenter: VCenter, shell: Shell) -> None:
    """Exit status 4, what to correct, and one attempt: more would lock the account."""
    before = vcenter.lab.stats()["logins"]["failed"]

    result = shell("wait", "linux-template", VSPHERE_PASSWORD="wrong-one")

    assert result.returncode == 4
    assert "refused the user name or password" in result.stderr
    assert "--password-file" in result.stderr
    assert "wrong-one" not in result.stdout + result.stderr
    assert vcenter.lab.stats()["logins"]["failed"] == before + 1


def test_a_certificate_that_is_not_trusted_has_three_ways_out(vcenter: VCenter, shell: Shell) -> None:
    """The message names the options, and each of them works."""
    refused = shell("status", "linux-template", VSPHERE_CA_FILE="")

    assert refused.returncode == 4
    ways = (
        ("--ca-file", vcenter.lab.ca_file),
        ("--thumbprint", vcenter.lab.thumbprint),
        ("--allow-unverified-ssl",),
    )
    for way in ways:
        assert way[0] in refused.stderr
        assert shell("status", "linux-template", *way, VSPHERE_CA_FILE="").returncode == 3, way


@pytest.mark.parametrize("wrong", ["", "-wrong"])
def test_a_terminal_is_asked_for_the_password(vcenter: VCenter, shell: Shell, wrong: str) -> None:
    """What is typed is used and not shown."""
    password = vcenter.lab.password + wrong
    environment = {**shell.environment, "VSPHERE_PASSWORD": ""}
    process, text = in_terminal(["status", "linux-template"], environment, answer=password)

    assert process == (4 if wrong else 3)
    assert f"Password of {vcenter.lab.user} at {vcenter.lab.server}: " in text
    assert password not in text


# ---- the terminal and signals


def in_terminal(arguments: list[str], environment: dict[str, str], answer: str = "") -> tuple[int, str]:
    """Runs the program in a terminal of its own; returns its exit status and what the terminal got."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(PROGRAM[0], [*PROGRAM, *arguments], {**environment, "TERM": "xterm"})  # noqa: S606 -- no shell
    got, answered = b"", not answer
    deadline = time.monotonic() + WAIT
    while True:
        readable, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, got
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the terminal's other end is closed
            break
        got += piece
        if not answered and got.endswith(b": "):
            os.write(terminal, f"{answer}\n".encode())
            answered = True
        if not piece:
            break
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), got.decode()


def test_a_terminal_shows_a_live_table(vcenter: VCenter, shell: Shell) -> None:
    """The table is drawn over itself while the wait lasts; the last one stays, followed by the end."""
    vms = customized(vcenter, 2, duration="6s")

    code, text = in_terminal(["wait", *(vm.name for vm in vms)], shell.environment)

    assert code == 0
    assert "\x1b[?25l" in text, "the cursor is hidden while the table lives"
    assert "CustomizationStarted" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    end = plain.splitlines()[-4:]
    assert end[0].split()[:4] == ["VM", "ID", "status", "took"]
    assert all("CustomizationSucceeded" in line for line in end[1:3])
    assert re.fullmatch(r"2 of 2 customized after [0-9.]+ s", end[3])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_wait_with_its_report(
    vcenter: VCenter, shell: Shell, number: signal.Signals, code: int
) -> None:
    """What was seen so far is written, and nothing stays on the server."""
    [done], [late] = customized(vcenter), customized(vcenter, outcome="never-ends")
    assert shell("wait", done.name).returncode == 0
    sessions = vcenter.lab.stats()["sessions"]

    process = shell.start("wait", done.name, late.name, "--output", "json")
    assert process.stderr is not None
    while "CustomizationStarted" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=WAIT)

    assert process.returncode == code
    statuses = {done.name: "CustomizationSucceeded", late.name: "CustomizationStarted"}
    assert json.loads(stdout)["statuses"] == statuses
    assert "run the same command again to resume waiting" in stderr
    assert "Traceback" not in stderr
    stats = vcenter.lab.stats()
    assert (stats["sessions"], stats["collectors"]) == (sessions, 0)


# ---- the picture


def test_a_wait_can_be_drawn(vcenter: VCenter, shell: Shell, tmp_path: Path) -> None:
    """The report of a wait goes by a pipe into the terminal or into a picture."""
    [bad], [good] = customized(vcenter, outcome="CustomizationNetworkSetupFailed"), customized(vcenter)
    report = shell("wait", bad.name, good.name, "-o", "json").stdout

    shown = shell("timeline", stdin=report)
    drawn = shell("timeline", "--svg", str(tmp_path / "timeline.svg"), stdin=report)
    live = shell("timeline", "--live", bad.name, good.name)

    assert (shown.returncode, drawn.returncode, live.returncode) == (0, 0, 0)
    assert "CustomizationNetworkSetupFailed" in shown.stdout
    assert "CustomizationNetworkSetupFailed" in live.stdout
    picture = ElementTree.parse(tmp_path / "timeline.svg")
    texts = {"".join(node.itertext()) for node in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {bad.name, good.name, "CustomizationNetworkSetupFailed"} <= texts


# ---- Cloud Director


@pytest.fixture(scope="module")
def cloud() -> Iterator[tuple[Cloud, Shell]]:
    folder = certificate(Home())
    with serve(Cloud("acme", "ann", "s3cret"), folder) as running_:
        connection = {
            "VCD_URL": running_.url,
            "VCD_ORG": "acme",
            "VCD_USER": "ann",
            "VCD_PASSWORD": "s3cret",
            "VCD_CA_FILE": str(folder / "ca.pem"),
        }
        yield running_.cloud, Shell({**clean_environment(), **connection})


def test_vms_of_cloud_director_are_waited_for(cloud: tuple[Cloud, Shell]) -> None:
    """A VM by its URN, and a vApp for all that is in it."""
    lab, shell = cloud
    plan = Plan(start_delay=0.1, duration=0.5)
    [one, *_] = [lab.add(f"{vapp}-{n}", vapp, plan) for vapp in ("alone", "shop") for n in range(2)]

    words = [one.urn, f"urn:vcloud:vapp:{vapp_uuid('shop')}"]
    result = shell("wait", *words, "--platform", "cloud_director", "-o", "json")

    assert result.returncode == 0, result.stderr
    statuses = json.loads(result.stdout)["statuses"]
    assert statuses == dict.fromkeys(("alone-0", "shop-0", "shop-1"), "CustomizationSucceeded")


def test_doctor_works_on_cloud_director(cloud: tuple[Cloud, Shell]) -> None:
    """The connection, the login, and each VM of a vApp."""
    lab, shell = cloud
    for number in range(2):
        lab.add(f"looked-{number}", "looked")

    result = shell("doctor", f"urn:vcloud:vapp:{vapp_uuid('looked')}", "--platform", "cloud_director", "-o", "json")

    assert result.returncode == 0, result.stdout
    assert [check for check, _ in findings(result)] == [
        "name_resolution", "connection", "certificate", "login", "version", "clock", "vm", "vm",
    ]  # fmt: skip


def test_a_name_is_no_reference_on_cloud_director(cloud: tuple[Cloud, Shell]) -> None:
    """The message says what names a VM there."""
    _, shell = cloud

    result = shell("wait", "web-1", "--platform", "cloud_director")

    assert result.returncode == 2
    assert "a VM of Cloud Director (urn:vcloud:vm:<uuid>" in result.stderr


def test_a_wrong_password_for_cloud_director_ends_with_4(cloud: tuple[Cloud, Shell]) -> None:
    """The options are named here, too."""
    lab, shell = cloud
    vm = lab.add("locked")

    result = shell("status", vm.urn, "--platform", "cloud_director", VCD_PASSWORD="wrong-one")

    assert result.returncode == 4
    assert "--password-file" in result.stderr
    assert "vcd:" not in result.stderr


# ---- names and encodings


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"LC_ALL": "C"}, id="C"),
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="C, ASCII only"),
        pytest.param({"LC_ALL": "C.UTF-8"}, id="UTF-8"),
    ],
)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("wéb-ü", ["wéb-ü", "we\u0301b-u\u0308", "/DC0/vm/wéb-ü", "w*-ü", "/**/wéb-?"], id="letters"),
        pytest.param("do\u0301b", ["dób"], id="composed"),
        pytest.param("a%2fb", ["a/b", "a%2fb", "a%2Fb", "/DC0/vm/a%2fb", "/DC0/vm/a/b", "vm/a/b"], id="a slash"),
    ],
)
def test_names_are_found_in_every_locale(
    vcenter: VCenter, environment: dict[str, str], name: str, words: list[str]
) -> None:
    """Letters beyond ASCII, composed or not, and a slash, which vCenter writes as %2f, are found as people write it."""
    try:
        vm = vcenter.find(name)
    except KeyError:
        vm = vcenter.clone()
        finish(vm.Rename_Task(name))
    shell = Shell({**connected_to(vcenter.lab).environment, **environment})
    completed = shell("status", *words, "--output", "json")
    assert [result["moid"] for result in json.loads(completed.stdout or "{}").get("results", {}).values()] == [
        vm._moId
    ], completed


def test_a_byte_order_mark_is_no_part_of_what_is_read(vcenter: VCenter, tmp_path: Path) -> None:
    """Editors of Windows write one: the password is sent without it, and the first name is found."""
    vm = vcenter.clone()
    password = tmp_path / "password"
    password.write_bytes(f"\ufeff{vcenter.lab.password}\r\n".encode())
    shell = connected_to(vcenter.lab)

    result = shell("status", "-", "--password-file", str(password), "-o", "json", stdin=f"\ufeff{vm.name}\r\n")

    assert list(json.loads(result.stdout)["statuses"]) == [vm.name], result


# ---- the end


@pytest.mark.parametrize("ending", ["time-out", "Ctrl-C"])
def test_the_program_ends_with_its_report(crowded: VCenter, ending: str) -> None:
    """Queries that are on their way, or wait for their turn, hold nothing up: 80 of them would take half a minute."""
    crowded.lab.clear_faults()
    crowded.lab.add_fault("delay", method="QueryEvents", seconds=3.0)
    asked = crowded.lab.stats()["calls"].get("QueryEvents", 0)
    timeout = "8" if ending == "time-out" else "60"
    with connected_to(crowded.lab).start("wait", *crowded_moids(crowded), "--timeout", timeout) as process:
        until(lambda: crowded.lab.stats()["calls"].get("QueryEvents", 0) > asked)
        if ending == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        reported = next(line for line in process.stderr if line.startswith("customization-gate: "))
        began = time.monotonic()
        process.wait(WAIT)
        lasted = time.monotonic() - began
    assert "no VM was judged" in reported
    assert lasted < 1, lasted


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    with running(tmp_path_factory.mktemp("crowded"), "-vms", "80") as vcenter:
        yield vcenter


def crowded_moids(vcenter: VCenter) -> list[str]:
    view = vcenter.content.viewManager.CreateContainerView(
        vcenter.content.rootFolder, [vim.VirtualMachine], recursive=True
    )
    try:
        return [str(vm._moId) for vm in view.view]
    finally:
        view.Destroy()
