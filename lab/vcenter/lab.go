package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Lab is a simulated vCenter in which the guests of virtual machines behave by plan.
type Lab struct {
	options Options
	model   *simulator.Model
	service *simulator.Service
	session *simulator.Session // the server's own

	journal   *Journal
	stats     *Stats
	sessions  *sessions
	faults    *Faults
	transfers transfers
	waits     sync.Map // *simulator.PropertyCollector -> *waits

	mu     sync.Mutex
	guests map[types.ManagedObjectReference]*guest
	named  map[string]Settings // plans that the control endpoint set, by the VM's name
}

// context makes a context for work of the server's own. The simulator's locks are re-entrant within one context, so
// that every goroutine needs one for itself.
func (l *Lab) context() *simulator.Context {
	return &simulator.Context{Context: context.Background(), Session: l.session, Map: l.registry()}
}

func (l *Lab) registry() *simulator.Registry { return l.service.Context.Map }

// hasCustomizationInfo reports whether the pretended version knows guest.customizationInfo, which came with 7.0.2.
func (l *Lab) hasCustomizationInfo() bool { return !versionBefore(l.options.APIVersion, 7, 0, 2) }

// versionBefore compares the numbers of a version such as 7.0.1.0, as far as both go.
func versionBefore(version string, than ...int) bool {
	parts := strings.Split(version, ".")
	for i, want := range than {
		have := 0
		if i < len(parts) {
			_, _ = fmt.Sscan(parts[i], &have) // what is not a number counts as 0
		}
		if have != want {
			return have < want
		}
	}
	return false
}

// VM gives the virtual machine with the reference, or nil.
func (l *Lab) vm(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := l.registry().Get(ref).(*simulator.VirtualMachine)
	return vm
}

// find gives the virtual machine of a managed object ID or a name, or nil.
func (l *Lab) find(id string) *simulator.VirtualMachine {
	if vm := l.vm(types.ManagedObjectReference{Type: "VirtualMachine", Value: id}); vm != nil {
		return vm
	}
	for _, entity := range l.registry().All("VirtualMachine") {
		if vm := entity.(*simulator.VirtualMachine); l.nameOf(vm) == id {
			return vm
		}
	}
	return nil
}

func (l *Lab) nameOf(vm *simulator.VirtualMachine) (name string) {
	l.context().WithLock(vm, func() { name = vm.Name })
	return name
}

// plan merges the settings of a VM: the program's flags, then the VM's extraConfig, then the control
// endpoint. The VM must be locked by the caller.
func (l *Lab) plan(vm *simulator.VirtualMachine) (Plan, error) {
	plan := l.options.Plan
	if err := extraConfigSettings(vm.Config.ExtraConfig).Apply(&plan); err != nil {
		return plan, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return plan, l.named[vm.Name].Apply(&plan)
}

// guest gives the guest of a VM, and makes it where there is none yet.
func (l *Lab) guest(ref types.ManagedObjectReference) *guest {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.guests[ref]
	if g == nil {
		g = &guest{lab: l, ref: ref, stop: func() {}, endOrders: make(chan endOrder)}
		l.guests[ref] = g
	}
	return g
}

// watcher sees every object that comes, changes or goes, whoever caused it: so no way of powering on, not even within
// a clone or by PowerOnMultiVM_Task, passes the guests by.
type watcher struct{ lab *Lab }

// Reference makes the watcher an object that the registry can hold as a handler.
func (watcher) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabWatcher", Value: "watcher"}
}

// PutObject repairs what clients cannot read in a new object.
func (w watcher) PutObject(_ *simulator.Context, object mo.Reference) {
	switch o := object.(type) {
	case *simulator.VirtualMachine:
		mendEnums(o)
		setDefaults(o)
	case *simulator.Task:
		if name, ok := methodNames[o.Info.Name]; ok {
			o.Info.Name = name
		}
	}
}

// UpdateObject starts and stops guests with their VMs, and records events.
func (w watcher) UpdateObject(ctx *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	switch o := object.(type) {
	case *mo.EventHistoryCollector:
		if o.Self == w.lab.journal.tap && len(o.LatestPage) != 0 {
			w.lab.journal.record(ctx, o.LatestPage[0])
		}
	case *mo.VirtualMachine:
		for _, change := range changes {
			if change.Name != "runtime.powerState" {
				continue
			}
			if o.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
				w.lab.guest(o.Self).powerOn(ctx)
			} else {
				w.lab.guest(o.Self).powerOff(ctx)
			}
		}
	}
}

// RemoveObject ends the guest of a removed VM.
func (w watcher) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	w.lab.mu.Lock()
	g := w.lab.guests[ref]
	delete(w.lab.guests, ref)
	w.lab.mu.Unlock()
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.stop()
		if g.computer != nil {
			g.computer.halt()
			_ = os.RemoveAll(g.computer.root) // leftovers are harmless
		}
	}
}

// mendEnums sets what the simulator leaves as empty strings and pyVmomi cannot read.
func mendEnums(vm *simulator.VirtualMachine) {
	for _, runtime := range []*types.VirtualMachineRuntimeInfo{&vm.Runtime, &vm.Summary.Runtime} {
		if runtime.RecordReplayState == "" {
			runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
		}
		if runtime.FaultToleranceState == "" {
			runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
		}
	}
	if vm.GuestHeartbeatStatus == "" {
		vm.GuestHeartbeatStatus = types.ManagedEntityStatusGray
	}
}

// setDefaults sets the defaults that a vCenter gives every VM.
func setDefaults(vm *simulator.VirtualMachine) {
	if vm.Config != nil && vm.Config.SwapPlacement == "" {
		vm.Config.SwapPlacement = string(types.VirtualMachineConfigInfoSwapPlacementTypeInherit)
	}
}

// methodNames gives the API's names of the methods behind tasks: clients look them up, and the simulator's own names
// are not among them.
var methodNames = map[string]string{
	"CloneVm":          "CloneVM_Task",
	"CreateVm":         "CreateVM_Task",
	"CustomizeVm":      "CustomizeVM_Task",
	"Destroy":          "Destroy_Task",
	"MigrateVm":        "MigrateVM_Task",
	"PowerOff":         "PowerOffVM_Task",
	"PowerOn":          "PowerOnVM_Task",
	"PowerOnMultiVM":   "PowerOnMultiVM_Task",
	"ReconfigVm":       "ReconfigVM_Task",
	"RelocateVm":       "RelocateVM_Task",
	"Rename":           "Rename_Task",
	"Reset":            "ResetVM_Task",
	"Suspend":          "SuspendVM_Task",
	"CreateSnapshot":   "CreateSnapshot_Task",
	"RevertToSnapshot": "RevertToSnapshot_Task",
}

// sweep frees what sessions that are gone have left behind, as a real vCenter does.
func (l *Lab) sweep(ctx *simulator.Context) {
	live := l.sessions.live(ctx)
	l.sessions.forget(ctx, live, func(object mo.Reference) { l.waits.Delete(object) })
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	for ref, collector := range l.journal.collectors {
		if !live[collector.session] {
			delete(l.journal.collectors, ref)
		}
	}
}

// waitFor waits until a task has ended and gives its result.
func waitFor(ctx *simulator.Context, ref types.ManagedObjectReference) (types.AnyType, types.BaseMethodFault) {
	task := ctx.Map.Get(ref).(*simulator.Task)
	task.Wait()
	if task.Info.Error != nil {
		return nil, task.Info.Error.Fault
	}
	return task.Info.Result, nil
}

func change(name string, value any) types.PropertyChange {
	return types.PropertyChange{Name: name, Val: value}
}

// sleep waits, and reports whether it was for the whole time.
func sleep(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
