"""The dynamic provider behind GuestScript. Its path is stored in every stack that has one: it is frozen."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)

from pulumi_customization_gate.core import report as words
from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.lifecycle.engine import PartialFailureError
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.configured import ConfiguredProvider
from pulumi_customization_gate.resources.guest_arguments import (
    GuestScriptArguments,
    expected_exit_codes,
    script_problems,
)
from pulumi_customization_gate.resources.guest_connection import (
    guest_at_the_end,
    guest_of,
    is_another_server,
    settings_problems,
)
from pulumi_customization_gate.resources.input_problems import reasons, without_secrets
from pulumi_customization_gate.vsphere.guest.errors import GuestError
from pulumi_customization_gate.vsphere.guest.run import ScriptResult, ScriptStoppedError, run_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.vsphere.guest.operations import Guest

Inputs = dict[str, Any]

_RUNNING_AGAIN = ("script", "interpreter", "arguments", "environment", "working_directory", "triggers")
_KEPT = ("username", "password", "timeout", "on_delete", "expected_exit_codes", "output_limit")
_OUTPUTS = ("exit_code", "stdout", "stderr", "stdout_truncated", "stderr_truncated", "started_at", "seconds")
_LAST_LINES = 15


class GuestScriptProvider(ConfiguredProvider):
    """Runs a script in `create`, again in `update` where it has become another one, and `on_delete` in `delete`."""

    @host.clean_errors
    def check(self, _olds: Inputs, news: Inputs) -> CheckResult:
        """Refuses bad inputs and missing settings; opens no connection."""
        problems = reasons(script_problems(news, host.is_unknown), news) + settings_problems(news, self._config)
        return CheckResult(news, host.failures(problems, news))

    @host.clean_errors
    def diff(self, _id: str, olds: Inputs, news: Inputs) -> DiffResult:
        """Replaces for another machine only; runs again for another script, its surroundings or `triggers`."""
        replaces = [name for name in ("vm",) if olds.get(name) != news.get(name)]
        if is_another_server(olds, news):
            replaces.append("config_namespace")
        changed = any(_differs(olds, news, name) for name in (*_RUNNING_AGAIN, *_KEPT))
        return DiffResult(changes=bool(replaces) or changed or _has_failed(olds, news), replaces=replaces)

    @host.clean_errors
    def create(self, props: Inputs) -> CreateResult:
        """Runs the script."""
        script_id = secrets.token_hex(8)
        return CreateResult(script_id, self._run(script_id, props))

    @host.clean_errors
    def update(self, _id: str, _olds: Inputs, _news: Inputs) -> UpdateResult:
        """Runs the script again if it has become another one or has failed; else takes the new inputs over."""
        if any(_differs(_olds, _news, name) for name in _RUNNING_AGAIN) or _has_failed(_olds, _news):
            return UpdateResult(self._run(_id, _news))
        return UpdateResult({**_news, **{name: _olds.get(name) for name in _OUTPUTS}})

    def read(self, id_: str, props: Inputs) -> ReadResult:
        """Returns what is stored: a refresh runs nothing."""
        return ReadResult(id_, props)

    @host.clean_errors
    def delete(self, _id: str, _props: Inputs) -> None:
        """Runs `on_delete`; a machine that is gone or off is a warning."""
        if not _props.get("on_delete"):
            return
        arguments = GuestScriptArguments.of(_props)
        assert arguments.on_delete is not None
        with guest_at_the_end(_props, self._config, arguments.timeout, "on_delete did not run") as guest:
            if guest is None:
                return
            try:
                result = run_script(guest, arguments.on_delete, _warner(_props))
            except ScriptStoppedError as error:
                raise GuestError(_told(f"on_delete: {error}", error.result, _props)) from None
            _judge(guest, result, arguments, _props, "on_delete")

    def _run(self, script_id: str, inputs: Inputs) -> Inputs:
        """Runs the script and returns all outputs.

        Raises:
            PartialFailureError: If it was started and did not end well; it holds all outputs.
            GateError: If it was not started.
        """
        arguments = GuestScriptArguments.of(inputs)
        with guest_of(inputs, self._config, arguments.timeout) as guest:
            try:
                result = run_script(guest, arguments.script, _warner(inputs))
            except ScriptStoppedError as error:
                said = _told(str(error), error.result, inputs)
                raise PartialFailureError(said, script_id, {**inputs, **_outputs(error.result)}) from None
            outputs = {**inputs, **_outputs(result)}
            try:
                _judge(guest, result, arguments, inputs, "the script")
            except GateError as error:
                raise PartialFailureError(str(error), script_id, outputs) from None
            return outputs


def _warner(inputs: Inputs) -> Callable[[str], None]:
    """Returns what writes a warning on the resource's row."""
    return lambda line: host.Call(inputs).log(words.plain(line), warning=True)


def _judge(guest: Guest, result: ScriptResult, arguments: GuestScriptArguments, inputs: Inputs, what: str) -> None:
    """Refuses an exit code that is not expected."""
    assert result.outcome is not None
    code = result.outcome.exit_code
    if code not in arguments.expected_exit_codes:
        length = words.duration(result.seconds)
        raise GuestError(_told(f"{what} in {guest} ended with exit code {code} after {length}", result, inputs))


def _told(sentence: str, result: ScriptResult, inputs: Inputs) -> str:
    """Adds the last lines of what the script said: of its errors, or where it told none of its output."""
    if result.outcome is None:
        return sentence
    for name, output in (("errors", result.outcome.stderr), ("output", result.outcome.stdout)):
        lines = [line for line in map(words.plain, without_secrets(output, inputs).splitlines()) if line]
        if lines:
            return "\n".join([f"{sentence}; the last lines of its {name}:", *(f"  {x}" for x in lines[-_LAST_LINES:])])
    return f"{sentence}; it said nothing"


def _outputs(result: ScriptResult) -> Inputs:
    outcome = result.outcome
    return {
        "exit_code": outcome.exit_code if outcome else None,
        "stdout": outcome.stdout if outcome else "",
        "stderr": outcome.stderr if outcome else "",
        "stdout_truncated": bool(outcome and outcome.stdout_truncated),
        "stderr_truncated": bool(outcome and outcome.stderr_truncated),
        "started_at": result.started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": result.seconds,
    }


def _differs(olds: Inputs, news: Inputs, name: str) -> bool:
    """Whether an input has changed; an empty one is as good as none."""
    return (olds.get(name) or None) != (news.get(name) or None)


def _has_failed(olds: Inputs, news: Inputs) -> bool:
    """Whether the last run ended otherwise than is expected now, or not at all."""
    code, expected = olds.get("exit_code"), news.get("expected_exit_codes")
    if host.is_unknown(expected) or any(map(host.is_unknown, expected or ())):
        return False
    return code is None or int(code) not in expected_exit_codes(news)
