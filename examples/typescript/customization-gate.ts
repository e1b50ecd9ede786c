// A class for each resource of the native provider customization-gate.
//
// `pulumi package add` generates an SDK with the same classes, and with types for every output. These classes need no
// generated code: copy this file into a program, and add `pulumi-resource-customization-gate` to PATH.

import * as pulumi from "@pulumi/pulumi";

/** A length of time: seconds, or a text such as "30m". */
export type Duration = number | string;

/** The connection to one vCenter or one Cloud Director. Two servers are two providers. */
export interface ProviderArgs {
    vsphereServer?: pulumi.Input<string>;
    url?: pulumi.Input<string>;
    org?: pulumi.Input<string>;
    user?: pulumi.Input<string>;
    password?: pulumi.Input<string>;
    apiToken?: pulumi.Input<string>;
    allowUnverifiedSsl?: pulumi.Input<boolean>;
    caFile?: pulumi.Input<string>;
    thumbprint?: pulumi.Input<string>;
    guestUser?: pulumi.Input<string>;
    guestPassword?: pulumi.Input<string>;
}

export class Provider extends pulumi.ProviderResource {
    constructor(name: string, args: ProviderArgs, opts?: pulumi.ResourceOptions) {
        super("customization-gate", name, { ...args }, opts);
    }
}

export interface CustomizationGateArgs {
    /** The VMs: a list of references, or a map of your own keys to them. */
    vms: pulumi.Input<pulumi.Input<string>[] | Record<string, pulumi.Input<string>>>;
    platform?: pulumi.Input<"vsphere" | "cloud_director">;
    timeout?: pulumi.Input<Duration>;
    startTimeout?: pulumi.Input<Duration>;
    expect?: pulumi.Input<"required" | "optional">;
    readyWhen?: pulumi.Input<"customized" | "guest_operations">;
    settle?: pulumi.Input<Duration>;
    /** Conditions after success, for example { kind: "tcp_port", port: 22 }. */
    checks?: pulumi.Input<pulumi.Input<{ kind: string; [option: string]: unknown }>[]>;
    accept?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    onFailure?: pulumi.Input<"fail" | "report">;
    guestLogs?: pulumi.Input<boolean>;
    triggers?: pulumi.Input<unknown>;
    /** The UUIDs of the VMs, in the form of vms. With them, the gate detects another VM with the same ID. */
    vmUuids?: pulumi.Input<pulumi.Input<string>[] | Record<string, pulumi.Input<string>>>;
    /** The URNs of the VMs, in the form of vms. With them, a failure names the resources to replace. */
    vmUrns?: pulumi.Input<pulumi.Input<string>[] | Record<string, pulumi.Input<string>>>;
}

/** What is known about one VM. */
export interface VmResult {
    name: string;
    moid: string;
    status: string;
    hostName: string;
    ipAddresses: string[];
    [field: string]: unknown;
}

/** Blocks until the guest customization of VMs has succeeded, and fails with the reason if it has not. */
export class CustomizationGate extends pulumi.CustomResource {
    public readonly ready!: pulumi.Output<boolean>;
    public readonly statuses!: pulumi.Output<Record<string, string>>;
    public readonly addresses!: pulumi.Output<Record<string, string>>;
    public readonly results!: pulumi.Output<Record<string, VmResult>>;
    public readonly waitSeconds!: pulumi.Output<number>;
    public readonly openedAt!: pulumi.Output<string>;
    public readonly server!: pulumi.Output<{ address: string; id: string }>;

    constructor(name: string, args: CustomizationGateArgs, opts?: pulumi.CustomResourceOptions) {
        const outputs = {
            ready: undefined,
            statuses: undefined,
            addresses: undefined,
            results: undefined,
            waitSeconds: undefined,
            openedAt: undefined,
            server: undefined,
        };
        super("customization-gate:index:CustomizationGate", name, { ...args, ...outputs }, opts);
    }

    /** Returns the value once the gate is open: a resource that uses it waits for the gate. */
    public after<T>(value: pulumi.Input<T>): pulumi.Output<pulumi.Unwrap<T>> {
        return pulumi.all([value, this.id]).apply(([known]) => known);
    }
}

interface GuestArgs {
    /** The VM: a reference, usually gate.after(vm.moid). */
    vm: pulumi.Input<string>;
    username?: pulumi.Input<string>;
    password?: pulumi.Input<string>;
    timeout?: pulumi.Input<Duration>;
}

export interface GuestScriptArgs extends GuestArgs {
    script: pulumi.Input<string>;
    interpreter?: pulumi.Input<string>;
    arguments?: pulumi.Input<pulumi.Input<string>[]>;
    environment?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    stdin?: pulumi.Input<string>;
    workingDirectory?: pulumi.Input<string>;
    triggers?: pulumi.Input<unknown>;
    onUpdate?: pulumi.Input<string>;
    onDelete?: pulumi.Input<string>;
    addPreviousOutput?: pulumi.Input<boolean>;
    log?: pulumi.Input<"last" | "all">;
    expectedExitCodes?: pulumi.Input<pulumi.Input<number>[]>;
    outputLimit?: pulumi.Input<number>;
}

/** Runs a script in the guest of a VM, by VMware Tools. */
export class GuestScript extends pulumi.CustomResource {
    public readonly exitCode!: pulumi.Output<number>;
    public readonly stdout!: pulumi.Output<string>;
    public readonly stderr!: pulumi.Output<string>;

    constructor(name: string, args: GuestScriptArgs, opts?: pulumi.CustomResourceOptions) {
        const outputs = { exitCode: undefined, stdout: undefined, stderr: undefined };
        super("customization-gate:index:GuestScript", name, { ...secrets(args), ...outputs }, deletedFirst(opts));
    }
}

export interface GuestFileArgs extends GuestArgs {
    path: pulumi.Input<string>;
    content?: pulumi.Input<string>;
    /** A local file or directory; or a map, in which a path that ends with / takes the files of a local directory. */
    source?: pulumi.Input<string | Record<string, string>>;
    texts?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    permissions?: pulumi.Input<string>;
    owner?: pulumi.Input<string>;
}

/** Writes a file, or a directory of files, in the guest of a VM, by VMware Tools. */
export class GuestFile extends pulumi.CustomResource {
    public readonly path!: pulumi.Output<string>;
    public readonly size!: pulumi.Output<number>;

    constructor(name: string, args: GuestFileArgs, opts?: pulumi.CustomResourceOptions) {
        super("customization-gate:index:GuestFile", name, { ...secrets(args), size: undefined }, deletedFirst(opts));
    }
}

/** Marks the arguments that may contain a secret, so that they are encrypted in the state. */
function secrets<T extends object>(args: T): T {
    const hidden = ["password", "environment", "stdin", "texts"];
    const entries = Object.entries(args).map(([name, value]) => [
        name,
        hidden.includes(name) && value !== undefined ? pulumi.secret(value) : value,
    ]);
    return Object.fromEntries(entries) as T;
}

/** Makes a replacement delete the old resource first, so that its deletion does not undo the work of the new one. */
function deletedFirst(opts?: pulumi.CustomResourceOptions): pulumi.CustomResourceOptions {
    return pulumi.mergeOptions({ deleteBeforeReplace: true }, opts);
}
