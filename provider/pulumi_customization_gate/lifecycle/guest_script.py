"""The life of a guest script: it runs once when the resource is created, and once per change that asks for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.lifecycle.description import Effect
from pulumi_customization_gate.lifecycle.engine import UNKNOWN, Created, Difference, PartialFailureError, is_unknown
from pulumi_customization_gate.lifecycle.guest import (
    changed_target,
    identity_of,
    is_elsewhere,
    key_of,
    open_guest,
    open_guest_for_deletion,
    server_of,
    settings_problems,
)
from pulumi_customization_gate.lifecycle.guest_arguments import (
    GuestScriptArguments,
    expected_exit_codes,
    script_problems,
)
from pulumi_customization_gate.lifecycle.guest_description import SCRIPT
from pulumi_customization_gate.lifecycle.inputs import reasons, without_secrets
from pulumi_customization_gate.lifecycle.live_output import LiveOutput
from pulumi_customization_gate.lifecycle.outputs import GUEST_ID, GUEST_SERVER, SCRIPT_OUTPUTS, SCRIPT_STORED, names
from pulumi_customization_gate.lifecycle.spelling import spelled
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestError
from pulumi_customization_gate.vsphere.guest.run import (
    Attempt,
    ScriptResult,
    ScriptStoppedError,
    Status,
    remove_runs,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.lifecycle.engine import Engine
    from pulumi_customization_gate.vsphere.guest.operations import Guest
    from pulumi_customization_gate.vsphere.guest.program import Script

Inputs = dict[str, Any]

WHAT_RUNS = tuple(argument.name for argument in SCRIPT if argument.effect is Effect.ACTS_AGAIN)
"""The inputs of which a change runs the script again."""
OUTPUTS = names(SCRIPT_OUTPUTS)
PROPERTIES = (*SCRIPT, *SCRIPT_OUTPUTS, *SCRIPT_STORED)
"""A description of each property, by which its name is spelled."""
PREVIOUS_OUTPUT_LIMIT = 32_000
"""Characters of an output that fit into a variable: Windows takes 32767, Linux 128 KiB in UTF-8."""
CLEANUP_TIMEOUT = 15.0
"""Seconds that removing a failed `on_delete` from the guest may take."""
_LAST_LINES = 15
_DELETION = "d"
"""What makes the key of `on_delete` another one than that of the script."""


def check(config: Config, news: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the inputs and what is missing of the settings; opens no connection."""
    return reasons(script_problems(news), news) + settings_problems(news, config)


def diff(engine: Engine, config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Difference:
    """Returns whether the script runs again, and whether the guest is another one.

    The old resource is deleted first, so that its `on_delete` never undoes what the new one has done.
    """
    replaces = changed_target(engine, config, olds, news)
    changed = is_elsewhere(config, olds, news) or any(argument.is_changed(olds, news) for argument in SCRIPT)
    return Difference(
        changes=bool(replaces) or changed or _has_failed(olds, news),
        replaces=replaces,
        delete_before_replace=True,
    )


def create(engine: Engine, config: Config, inputs: Inputs) -> Created:
    """Runs the script.

    Raises:
        PartialFailureError: If it may have been started and did not end well.
        GateError: If it was not started.
    """
    key = key_of(engine)
    attempt = Attempt(key, 1, _fingerprint(inputs, "script"))
    return Created(key, _run(engine, config, attempt, inputs, what="script", previous={}))


def update(engine: Engine, config: Config, key: str, olds: Mapping[str, Any], news: Inputs) -> Inputs:
    """Runs the script again if what runs has changed or the last run has failed; else stores the new inputs.

    An attempt whose end was not seen is followed, unless what runs has changed.

    Raises:
        PartialFailureError: If it may have been started and did not end well.
        GateError: If it was not started.
    """
    failed, changed = _has_failed(olds, news), _has_changed(olds, news)
    if not changed and not failed:
        return {**news, **{name: olds.get(name) for name in OUTPUTS}, GUEST_SERVER: server_of(config, news, olds)}
    # What has never succeeded cannot be updated.
    is_created = not failed or olds.get("ran") == "on_update"
    what = "on_update" if news.get("on_update") and is_created else "script"
    last = int(olds.get("attempt") or 0)
    follows = not changed and olds.get("status") == Status.UNKNOWN.value
    attempt = Attempt(key, last if follows else last + 1, _fingerprint(news, what))
    return _run(engine, config, attempt, news, what=what, previous=olds)


def preview(config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Inputs:
    """Returns the outputs of an update as far as they are known before it: all of them where nothing will run."""
    runs = _has_failed(olds, news) or _has_changed(olds, news)
    known = {name: UNKNOWN if runs and name != GUEST_ID else olds.get(name) for name in OUTPUTS}
    return {**news, **known, GUEST_SERVER: server_of(config, news, olds)}


def delete(engine: Engine, config: Config, key: str, inputs: Inputs) -> None:
    """Runs `on_delete` and removes what the runs left in the guest; logs a warning if the guest refuses the user."""
    arguments = GuestScriptArguments.of(inputs, engine.custom_timeout)
    on_delete = spelled("on_delete", inputs)
    task = f"{on_delete} did not run" if arguments.on_delete else "what the script's runs left in the guest stays there"
    with open_guest_for_deletion(engine, config, inputs, arguments.timeout, task) as guest:
        if guest is None:
            return
        remove_runs(guest, key)
        if arguments.on_delete is None:
            return
        attempt = Attempt(key + _DELETION, 1, _fingerprint(inputs, "on_delete"))
        script = _with_previous_output(arguments.on_delete, inputs, inputs)
        try:
            result = run_script(guest, script, attempt, lambda line: engine.log(sanitize(line)))
            _judge(guest, result, arguments, inputs, "on_delete")
        except ScriptStoppedError as error:
            if error.result.status is not Status.UNKNOWN:
                _forget(guest, attempt)
            raise GuestError(_with_last_lines(f"{on_delete}: {error}", error.result, inputs)) from None
        except GuestError:
            _forget(guest, attempt)
            raise
        remove_runs(guest, attempt.key)


def _forget(guest: Guest, attempt: Attempt) -> None:
    """Removes a failed `on_delete` from the guest, so that the next deletion runs it again.

    The time for the deletion may be up, or the user may have cancelled it: this has its own time, and an error of it
    must not take the place of the reason.
    """
    with contextlib.suppress(GateError):
        remove_runs(guest.with_deadline(Deadline(CLEANUP_TIMEOUT)), attempt.key)


def _run(
    engine: Engine,
    config: Config,
    attempt: Attempt,
    inputs: Inputs,
    *,
    what: str,
    previous: Mapping[str, Any],
) -> Inputs:
    """Runs the script and returns all outputs.

    Args:
        engine: Who asks.
        config: The stack's config.
        attempt: Which run this is.
        inputs: All inputs.
        what: "script" or "on_update".
        previous: The outputs of the last run.

    Raises:
        PartialFailureError: If it may have been started and did not end well; it holds all outputs.
        GateError: If it was not started.
    """
    arguments = GuestScriptArguments.of(inputs, engine.custom_timeout)
    script = arguments.on_update if what == "on_update" and arguments.on_update else arguments.script
    live = LiveOutput(engine, inputs, logs_all=inputs.get("log") == "all")
    script = replace(_with_previous_output(script, inputs, previous), shows_output=live.is_wanted)
    with open_guest(engine, config, inputs, arguments.timeout) as guest:
        known = {**inputs, "attempt": attempt.number, "ran": what, **identity_of(guest)}
        try:
            result = run_script(guest, script, attempt, lambda line: engine.log(sanitize(line)), live.show)
        except ScriptStoppedError as error:
            live.finish(error.result.outcome)
            message = _with_last_lines(str(error), error.result, inputs)
            raise PartialFailureError(message, attempt.key, {**known, **_outputs(error.result)}) from None
        live.finish(result.outcome)
        outputs = {**known, **_outputs(result)}
        try:
            _judge(guest, result, arguments, inputs, what)
        except GateError as error:
            raise PartialFailureError(str(error), attempt.key, outputs) from None
        return outputs


def _with_previous_output(script: Script, inputs: Inputs, previous: Mapping[str, Any]) -> Script:
    """Returns a script whose environment has the outputs of the last run, where the program asks for them."""
    if not inputs.get("add_previous_output"):
        return script
    outputs = {
        name: str(previous.get(name.lower()) or "").replace("\0", "")[-PREVIOUS_OUTPUT_LIMIT:]
        for name in ("STDOUT", "STDERR")
    }
    return replace(script, environment={**outputs, **script.environment})


def _fingerprint(inputs: Mapping[str, Any], what: str) -> str:
    """Returns a hash of what runs."""
    runs = [inputs.get(what), *(inputs.get(name) or None for name in WHAT_RUNS if name != "script")]
    return hashlib.sha256(json.dumps(runs, sort_keys=True, default=str).encode()).hexdigest()


def _judge(guest: Guest, result: ScriptResult, arguments: GuestScriptArguments, inputs: Inputs, what: str) -> None:
    """Raises an error for an exit code that is not expected."""
    assert result.outcome is not None
    assert result.outcome.exit_code is not None
    code = result.outcome.exit_code
    if code not in arguments.expected_exit_codes:
        subject = "the script" if what == "script" else spelled(what, inputs)
        sentence = f"{subject} in {guest} ended with exit code {code} after {duration(result.seconds)}"
        raise GuestError(_with_last_lines(sentence, result, inputs))


def _with_last_lines(sentence: str, result: ScriptResult, inputs: Inputs) -> str:
    """Adds the last lines of stderr, or where that is empty of stdout."""
    if result.outcome is None:
        return sentence
    for name, output in (("stderr", result.outcome.stderr), ("stdout", result.outcome.stdout)):
        lines = [line for line in map(sanitize, without_secrets(output, inputs).splitlines()) if line]
        if lines:
            return "\n".join([f"{sentence}; last lines of {name}:", *(f"  {x}" for x in lines[-_LAST_LINES:])])
    return f"{sentence}; it produced no output"


def _outputs(result: ScriptResult) -> Inputs:
    outcome, started_at = result.outcome, result.started_at
    return {
        "exit_code": outcome.exit_code if outcome else None,
        "stdout": outcome.stdout if outcome else "",
        "stderr": outcome.stderr if outcome else "",
        "stdout_truncated": bool(outcome and outcome.stdout_truncated),
        "stderr_truncated": bool(outcome and outcome.stderr_truncated),
        "started_at": started_at and started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": result.seconds,
        "status": result.status.value,
    }


def _has_changed(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether another thing runs."""
    return any(argument.is_changed(olds, news) for argument in SCRIPT if argument.effect is Effect.ACTS_AGAIN)


def _has_failed(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether the last run ended otherwise than is expected now, or its end was not seen."""
    code, expected = olds.get("exit_code"), news.get("expected_exit_codes")
    if is_unknown(expected) or any(map(is_unknown, expected or ())):
        return False
    # A state of before `status` was an output has none.
    has_exited = olds.get("status") in {None, Status.EXITED.value}
    return not has_exited or code is None or int(code) % 2**32 not in expected_exit_codes(news)
