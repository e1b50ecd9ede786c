// A program in another language: machines that are there, the gate as a component of its plugin, and what comes of it.
// It runs by the Automation API, which needs no language host, and prints the stack's outputs as JSON.

import * as automation from "@pulumi/pulumi/automation";
import * as pulumi from "@pulumi/pulumi";

interface CustomizationGateArgs {
    vms: pulumi.Input<Record<string, pulumi.Input<string>>>;
    timeout?: pulumi.Input<number>;
    startTimeout?: pulumi.Input<number>;
    expect?: pulumi.Input<string>;
}

/** What `pulumi package add` would generate from the plugin's schema. */
class CustomizationGate extends pulumi.ComponentResource {
    public readonly ready!: pulumi.Output<boolean>;
    public readonly statuses!: pulumi.Output<Record<string, string>>;
    public readonly vms!: pulumi.Output<Record<string, string>>;

    constructor(name: string, args: CustomizationGateArgs, opts?: pulumi.ComponentResourceOptions) {
        const outputs = { ready: undefined, statuses: undefined, results: undefined };
        super("customization-gate:index:CustomizationGate", name, { ...args, ...outputs }, opts, true);
    }
}

const wanted = JSON.parse(process.env.GATE_ARGS!) as CustomizationGateArgs;

async function program(): Promise<Record<string, unknown>> {
    const gate = new CustomizationGate("web", wanted);
    return { ready: gate.ready, statuses: gate.statuses, behind: gate.vms };
}

async function main(): Promise<void> {
    const stack = await automation.LocalWorkspace.createOrSelectStack(
        { stackName: process.env.GATE_STACK!, projectName: "typescript", program },
        { workDir: process.env.GATE_WORK },
    );
    await stack.setAllConfig(JSON.parse(process.env.GATE_CONFIG!));
    const result = await stack.up({ onOutput: line => process.stderr.write(line) });
    const outputs = Object.entries(result.outputs).map(([key, output]) => [key, output.value]);
    process.stdout.write(JSON.stringify(Object.fromEntries(outputs)));
}

main().catch((error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
});
