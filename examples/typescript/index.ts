// Existing VMs, their gate, and a script in each guest once the gate is open.
//
//   pulumi config set --path 'vms.web-1' /Datacenter/vm/web-1

import * as pulumi from "@pulumi/pulumi";

import { CustomizationGate, GuestScript } from "./customization-gate";

const vms = new pulumi.Config().requireObject<Record<string, string>>("vms");

const gate = new CustomizationGate("web", { vms, timeout: "30m", startTimeout: "10m" });

const greetings = Object.entries(vms).map(
    ([name, vm]) => new GuestScript(`greet-${name}`, { vm: gate.after(vm), script: "hostname" }),
);

export const statuses = gate.statuses;
export const hosts = pulumi.all(greetings.map(greeting => greeting.stdout.apply(text => text.trim())));
