// A program in another language, on VMs that exist: a gate, a script and a file of the native provider, by the classes
// of examples/typescript. It runs by the Automation API, which needs no language host, and prints what a test looks at.

import * as automation from "@pulumi/pulumi/automation";
import * as pulumi from "@pulumi/pulumi";

import { CustomizationGate, CustomizationGateArgs, GuestFile, GuestScript } from "./customization-gate";

interface Wanted {
    gate: CustomizationGateArgs;
    /** The VM in which a script and a file follow the gate. */
    work?: string;
}

const wanted = JSON.parse(process.env.GATE_ARGS!) as Wanted;

async function program(): Promise<Record<string, unknown>> {
    const gate = new CustomizationGate("web", wanted.gate);
    const outputs = { ready: gate.ready, statuses: gate.statuses, waited: gate.waitSeconds, results: gate.results };
    if (wanted.work === undefined) {
        return outputs;
    }
    const vm = gate.after(wanted.work);
    const environment = { GREETING: "hello" };
    const script = new GuestScript("greet", { vm, script: 'echo "$GREETING from $HOSTNAME"', environment });
    const file = new GuestFile("motd", { vm, path: "/srv/motd-typescript", content: "welcome\n" });
    const status = pulumi.output(
        pulumi.runtime.invoke("customization-gate:index:getCustomizationStatus", { vms: wanted.gate.vms }),
    );
    return { ...outputs, said: script.stdout, size: file.size, now: status.apply(result => result.statuses) };
}

async function main(): Promise<void> {
    const stack = await automation.LocalWorkspace.createOrSelectStack(
        { stackName: process.env.GATE_STACK!, projectName: "typescript", program },
        { workDir: process.env.GATE_WORK },
    );
    await stack.setAllConfig(JSON.parse(process.env.GATE_CONFIG!));
    const result = await stack.up({ onOutput: line => process.stderr.write(line) });
    const outputs = Object.entries(result.outputs).map(([key, output]) => [key, output.value]);
    await stack.destroy({ onOutput: line => process.stderr.write(line) });
    process.stdout.write(JSON.stringify(Object.fromEntries(outputs)));
}

main().catch((error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
});
