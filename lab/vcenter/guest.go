package main

import (
	"context"
	"log"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const toolsVersion = "12421" // the number of VMware Tools 12.5.5, say

// guest is what runs in one virtual machine: it boots with the VM, brings VMware Tools up, and carries out a
// customization that waits.
type guest struct {
	lab *Lab
	ref types.ManagedObjectReference

	mu        sync.Mutex
	awaiting  *types.CustomizationSpec // waits for the next power-on
	stop      context.CancelFunc       // ends what runs since the last power-on
	done      chan struct{}            // closed when no more change is scheduled
	computer  *computer                // where guest operations work; nil before the first one
	ready     time.Time                // before this, guest operations are refused although the guest reports them ready
	endOrders chan endOrder            // ends the customization that runs, before its time
}

// endOrder is the order to end a customization now.
type endOrder struct {
	plan Settings      // what is to be different from the VM's plan
	done chan struct{} // closed when the customization has ended
}

// await keeps a specification for the next power-on. There can be only one.
func (g *guest) await(spec *types.CustomizationSpec) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.awaiting != nil {
		return false
	}
	g.awaiting = spec
	return true
}

// powerOn boots the guest. The VM is locked by the caller.
func (g *guest) powerOn(ctx *simulator.Context) {
	vm := g.lab.vm(g.ref)
	if vm == nil {
		return // it is not in the inventory any more
	}
	plan, err := g.lab.plan(vm)
	running, stop := context.WithCancel(context.Background())

	g.mu.Lock()
	g.stop()
	spec := g.awaiting
	g.awaiting, g.stop, g.done = nil, stop, make(chan struct{})
	done := g.done
	g.mu.Unlock()

	changes := []types.PropertyChange{change("runtime.bootTime", vm.Summary.Runtime.BootTime)}
	if vm.Config.Tools != nil && vm.Config.Tools.PendingCustomization != "" {
		changes = append(changes, change("config.tools.pendingCustomization", ""))
	}
	if vm.Guest.CustomizationInfo == nil {
		changes = append(changes, g.info(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_IDLE, "", nil, nil)...)
	}
	ctx.Update(vm, changes)

	boot := &boot{guest: g, plan: plan, spec: spec, running: running}
	if err != nil {
		log.Printf("the plan of %s is wrong: %s", vm.Name, err)
		boot.plan.Outcome, boot.plan.Message = "CustomizationUnknownFailure", "the lab's plan is wrong: "+err.Error()
	}
	go func() {
		defer close(done)
		boot.run()
	}()
}

// powerOff ends the guest at once, whatever it is doing. The VM is locked by the caller.
func (g *guest) powerOff(ctx *simulator.Context) {
	g.mu.Lock()
	g.stop()
	g.mu.Unlock()
	g.halt()
	if vm := g.lab.vm(g.ref); vm != nil {
		ctx.Update(vm, append(toolsDown(), change("runtime.bootTime", nil)))
	}
}

// settled returns a channel that is closed when the guest has finished what it does after its power-on.
func (g *guest) settled() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done
}

func (g *guest) takeOperationsFrom(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ready = t
}

func (g *guest) takesOperationsFrom() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ready
}

// info is the change of guest.customizationInfo; none where the pretended version does not know it.
func (g *guest) info(status types.GuestInfoCustomizationStatus, message string, from, to *time.Time) []types.PropertyChange {
	if !g.lab.hasCustomizationInfo() {
		return nil
	}
	return []types.PropertyChange{change("guest.customizationInfo", &types.GuestInfoCustomizationInfo{
		CustomizationStatus: string(status), ErrorMsg: message, StartTime: from, EndTime: to,
	})}
}

// boot is one run of a guest, from a power-on to the end of the VM's power.
type boot struct {
	*guest
	plan    Plan
	spec    *types.CustomizationSpec // nil: nothing is to be customized
	running context.Context          // ends with the power
}

func (b *boot) run() {
	if !sleep(b.running, b.plan.StartDelay) || !b.act(b.toolsUp) {
		return
	}
	if b.spec == nil || !b.customize() {
		return
	}
	for range b.plan.Reboots {
		if !sleep(b.running, b.plan.RebootAfter) || !b.act(b.toolsAway) ||
			!sleep(b.running, b.plan.RebootDuration) || !b.act(b.toolsUp) {
			return
		}
	}
}

// act does something to the VM while it is locked, and only if it still runs: power-off locks it too, so that
// nothing of an ended run can follow. It reports whether it did.
func (b *boot) act(do func(*simulator.Context, *simulator.VirtualMachine)) bool {
	vm := b.lab.vm(b.ref)
	if vm == nil {
		return false
	}
	ctx, acted := b.lab.context(), false
	ctx.WithLock(vm, func() {
		if acted = b.running.Err() == nil; acted {
			do(ctx, vm)
		}
	})
	return acted
}

// now is the time by the guest's clock.
func (b *boot) now() *time.Time {
	t := time.Now().Add(b.plan.GuestClockOffset)
	return &t
}

// toolsUp is the moment from which the guest reports.
func (b *boot) toolsUp(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	heartbeat := types.ManagedEntityStatus(b.plan.Heartbeat)
	hostName := vm.Guest.HostName
	if hostName == "" {
		hostName = b.plan.HostName
	}
	changes := []types.PropertyChange{
		change("guest.toolsStatus", types.VirtualMachineToolsStatusToolsOk),
		change("guest.toolsVersion", toolsVersion),
		change("guest.toolsVersionStatus", string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)),
		change("guest.toolsVersionStatus2", string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)),
		change("guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)),
		change("guest.guestId", vm.Config.GuestId),
		change("guest.guestFullName", vm.Config.GuestFullName),
		change("guest.guestState", string(types.VirtualMachineGuestStateRunning)),
		change("guest.guestOperationsReady", true),
		change("guest.interactiveGuestOperationsReady", false),
		change("guest.guestStateChangeSupported", true),
		change("guestHeartbeatStatus", heartbeat),
		change("summary.quickStats.guestHeartbeatStatus", heartbeat),
		change("summary.guest.toolsStatus", types.VirtualMachineToolsStatusToolsOk),
		change("summary.guest.toolsVersionStatus2", string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)),
		change("summary.guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)),
	}
	b.takeOperationsFrom(time.Now().Add(b.plan.GuestOperationsLag))
	changes = append(changes, hostNameChanges(hostName)...)
	ctx.Update(vm, append(changes, b.addressChanges(vm, nil)...))
}

// toolsAway is the moment at which the guest goes down to come up again. A reboot from within the guest is not an event.
func (b *boot) toolsAway(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	ctx.Update(vm, toolsDown())
	b.halt()
}

// toolsDown is what a vCenter reports of a guest that is gone or rebooting.
func toolsDown() []types.PropertyChange {
	return []types.PropertyChange{
		change("guest.toolsStatus", types.VirtualMachineToolsStatusToolsNotRunning),
		change("guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)),
		change("guest.guestState", string(types.VirtualMachineGuestStateNotRunning)),
		change("guest.guestOperationsReady", false),
		change("guest.interactiveGuestOperationsReady", false),
		change("guest.guestStateChangeSupported", false),
		change("guest.ipAddress", ""),
		change("guestHeartbeatStatus", types.ManagedEntityStatusGray),
		change("summary.quickStats.guestHeartbeatStatus", types.ManagedEntityStatusGray),
		change("summary.guest.toolsStatus", types.VirtualMachineToolsStatusToolsNotRunning),
		change("summary.guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)),
		change("summary.guest.ipAddress", ""),
	}
}
