package main

import (
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// failures makes the event of each class that says that a customization failed.
var failures = map[string]func(types.CustomizationFailed) types.BaseEvent{
	"CustomizationFailed": func(f types.CustomizationFailed) types.BaseEvent { return &f },
	"CustomizationLinuxIdentityFailed": func(f types.CustomizationFailed) types.BaseEvent {
		return &types.CustomizationLinuxIdentityFailed{CustomizationFailed: f}
	},
	"CustomizationNetworkSetupFailed": func(f types.CustomizationFailed) types.BaseEvent {
		return &types.CustomizationNetworkSetupFailed{CustomizationFailed: f}
	},
	"CustomizationSysprepFailed": func(f types.CustomizationFailed) types.BaseEvent {
		return &types.CustomizationSysprepFailed{CustomizationFailed: f, SysprepVersion: "10.0.20348.1", SystemVersion: "10.0.20348.0"}
	},
	"CustomizationUnknownFailure": func(f types.CustomizationFailed) types.BaseEvent {
		return &types.CustomizationUnknownFailure{CustomizationFailed: f}
	},
}

// vmCalls answers the calls to a virtual machine that the lab does better than the simulator.
type vmCalls struct {
	*simulator.VirtualMachine
	lab *Lab
}

// CustomizeVMTask keeps the specification for the next power-on.
func (c *vmCalls) CustomizeVMTask(ctx *simulator.Context, req *types.CustomizeVM_Task) soap.HasFault {
	task := simulator.CreateTask(c, "customizeVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if state := c.Runtime.PowerState; state == types.VirtualMachinePowerStatePoweredOn {
			return nil, &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: state}
		}
		return nil, c.lab.request(ctx, c.VirtualMachine, &req.Spec)
	})
	return &methods.CustomizeVM_TaskBody{Res: &types.CustomizeVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// CloneVMTask clones without the specification, which the simulator would carry out at once, and then has it wait for
// the clone's power-on. A clone that cannot be customized is removed again, as a real vCenter makes none.
func (c *vmCalls) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	c.inheritPlan(req)
	spec, powerOn := req.Spec.Customization, req.Spec.PowerOn && !req.Spec.Template
	req.Spec.Customization, req.Spec.PowerOn = nil, false
	cloning := c.VirtualMachine.CloneVMTask(ctx, req)
	if cloning.Fault() != nil {
		return cloning
	}
	task := simulator.CreateTask(c, "cloneVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		result, fault := waitFor(ctx, cloning.(*methods.CloneVM_TaskBody).Res.Returnval)
		if fault != nil {
			return nil, fault
		}
		clone := c.lab.vm(result.(types.ManagedObjectReference))
		keep(ctx, clone, req.Spec.Config)
		if spec != nil && !req.Spec.Template {
			ctx.WithLock(clone, func() { fault = c.lab.request(ctx, clone, spec) })
		}
		if fault != nil {
			body := clone.DestroyTask(ctx, &types.Destroy_Task{This: clone.Self}).(*methods.Destroy_TaskBody)
			_, _ = waitFor(ctx, body.Res.Returnval) // the first fault is the one to report
			return nil, fault
		}
		if powerOn {
			body := clone.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: clone.Self}).(*methods.PowerOnVM_TaskBody)
			_, fault = waitFor(ctx, body.Res.Returnval)
		}
		return result, fault
	})
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// inheritPlan copies the plan's keys of the source to the clone, as a real vCenter copies extraConfig. What the clone's
// own specification says wins.
func (c *vmCalls) inheritPlan(req *types.CloneVM_Task) {
	inherited := extraConfigSettings(c.Config.ExtraConfig)
	if len(inherited) == 0 {
		return
	}
	if req.Spec.Config == nil {
		req.Spec.Config = new(types.VirtualMachineConfigSpec)
	}
	for key := range extraConfigSettings(req.Spec.Config.ExtraConfig) {
		delete(inherited, key)
	}
	for key, value := range inherited {
		req.Spec.Config.ExtraConfig = append(req.Spec.Config.ExtraConfig, &types.OptionValue{Key: planPrefix + key, Value: value})
	}
}

// MigrateVMTask moves the VM to another host, which the simulator knows as a relocation only.
func (c *vmCalls) MigrateVMTask(ctx *simulator.Context, req *types.MigrateVM_Task) soap.HasFault {
	spec := types.VirtualMachineRelocateSpec{Host: req.Host, Pool: req.Pool}
	res := c.RelocateVMTask(ctx, &types.RelocateVM_Task{This: req.This, Spec: spec, Priority: req.Priority})
	body := &methods.MigrateVM_TaskBody{Fault_: res.Fault()}
	if body.Fault_ == nil {
		body.Res = &types.MigrateVM_TaskResponse{Returnval: res.(*methods.RelocateVM_TaskBody).Res.Returnval}
	}
	return body
}

// request has a specification wait for the VM's next power-on. The VM is locked by the caller.
func (l *Lab) request(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.CustomizationSpec) types.BaseMethodFault {
	if _, cloudInit := spec.Identity.(*types.CustomizationCloudinitPrep); !cloudInit || len(spec.NicSettingMap) != 0 {
		if want, have := len(spec.NicSettingMap), len(vm.Guest.Net); want != have {
			return &types.NicSettingMismatch{NumberOfNicsInSpec: int32(want), NumberOfNicsInVM: int32(have)}
		}
	}
	g := l.guest(vm.Self)
	if !g.await(spec) {
		return new(types.CustomizationPending)
	}
	var changes []types.PropertyChange
	if vm.Config.Tools == nil {
		changes = append(changes, change("config.tools", &types.ToolsConfigInfo{PendingCustomization: uuid.NewString()}))
	} else {
		changes = append(changes, change("config.tools.pendingCustomization", uuid.NewString()))
	}
	ctx.Update(vm, append(changes, g.info(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_PENDING, "", nil, nil)...))
	return nil
}

// customize carries the specification out in the running guest, and reports whether it succeeded.
func (b *boot) customize() bool {
	if b.plan.Outcome == outcomeNeverStarts {
		return false
	}
	began := b.now()
	started := b.act(func(ctx *simulator.Context, vm *simulator.VirtualMachine) {
		ctx.Update(vm, b.info(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_RUNNING, "", began, nil))
		b.lab.journal.Post(ctx, &types.CustomizationStartedEvent{CustomizationEvent: b.event(ctx, vm)}, nil)
	})
	if !started {
		return false
	}
	end, ended := b.awaitEnd()
	if !ended {
		return false
	}
	defer close(end.done)
	succeeded := false
	return b.act(func(ctx *simulator.Context, vm *simulator.VirtualMachine) {
		// A network adapter that was added after the specification: the simulator, and a real vCenter, find that out now.
		if want, have := len(b.spec.NicSettingMap), len(vm.Guest.Net); want != 0 && want != have {
			b.plan.Outcome, b.plan.Reason = "CustomizationNetworkSetupFailed", "NicSettingMismatch"
		}
		if makeEvent, failed := failures[b.plan.Outcome]; failed {
			message := b.plan.Message
			if message == "" {
				message = fmt.Sprintf("An error occurred during customization on VM %s: %s", vm.Name, b.plan.Outcome)
			}
			ctx.Update(vm, b.info(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_FAILED, message, began, b.now()))
			event := makeEvent(types.CustomizationFailed{CustomizationEvent: b.event(ctx, vm), Reason: b.plan.Reason})
			b.lab.journal.Post(ctx, event, func(e *types.Event) { e.FullFormattedMessage = message })
			return
		}
		changes := append(hostNameChanges(specifiedName(vm, b.spec.Identity)), b.addressChanges(vm, b.spec)...)
		if !b.plan.AdaptersConnected {
			changes = append(changes, change("config.hardware.device", withoutLink(vm.Config.Hardware.Device)))
		}
		changes = append(changes, b.info(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_SUCCEEDED, "", began, b.now())...)
		ctx.Update(vm, changes)
		b.lab.journal.Post(ctx, &types.CustomizationSucceeded{CustomizationEvent: b.event(ctx, vm)}, nil)
		succeeded = true
	}) && succeeded
}

// awaitEnd waits until the customization is to end, by plan or by order, and reports whether it is.
func (b *boot) awaitEnd() (endOrder, bool) {
	var due <-chan time.Time // never, for nil
	if b.plan.Outcome != outcomeNeverEnds {
		timer := time.NewTimer(b.plan.Duration)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-b.running.Done():
		return endOrder{}, false
	case <-due:
		return endOrder{done: make(chan struct{})}, true
	case order := <-b.endOrders:
		_ = order.plan.Apply(&b.plan) // who gave the order has checked it
		return order, true
	}
}

func (b *boot) event(ctx *simulator.Context, vm *simulator.VirtualMachine) types.CustomizationEvent {
	return types.CustomizationEvent{VmEvent: vmEvent(ctx, vm), LogLocation: b.plan.LogLocation}
}

// hostNameChanges gives the guest a name; none where the name is empty.
func hostNameChanges(name string) []types.PropertyChange {
	if name == "" {
		return nil
	}
	return []types.PropertyChange{change("guest.hostName", name), change("summary.guest.hostName", name)}
}

// specifiedName gives the host name that a specification asks for.
func specifiedName(vm *simulator.VirtualMachine, identity types.BaseCustomizationIdentitySettings) string {
	var name types.BaseCustomizationName
	switch i := identity.(type) {
	case *types.CustomizationLinuxPrep:
		name = i.HostName
	case *types.CustomizationSysprep:
		name = i.UserData.ComputerName
	}
	switch n := name.(type) {
	case *types.CustomizationFixedName:
		return n.Name
	case *types.CustomizationPrefixName:
		return n.Base + "-" + vm.Config.InstanceUuid[:8]
	case *types.CustomizationVirtualMachineName:
		return vm.Name
	}
	return ""
}

// addressChanges gives every network adapter its address: what the plan says, or the specification, or else a lease. The
// slice is a new one, because property collectors may still hold the old one.
func (b *boot) addressChanges(vm *simulator.VirtualMachine, spec *types.CustomizationSpec) []types.PropertyChange {
	adapters := append([]types.GuestNicInfo(nil), vm.Guest.Net...)
	var routes []types.NetIpRouteConfigInfoIpRoute
	for i := range adapters {
		var wanted types.CustomizationIPSettings
		if spec != nil && i < len(spec.NicSettingMap) {
			wanted = spec.NicSettingMap[i].Adapter
		}
		address, prefix := lease(vm.Self, i), 8
		if held := adapters[i].IpAddress; len(held) != 0 {
			address = held[0]
		}
		if fixed, ok := wanted.Ip.(*types.CustomizationFixedIp); ok {
			address = fixed.IpAddress
			prefix, _ = net.IPMask(net.ParseIP(wanted.SubnetMask).To4()).Size()
		}
		if i == 0 && b.plan.IPAddress != "" {
			address = b.plan.IPAddress
		}
		adapters[i].Connected = spec == nil || b.plan.AdaptersConnected
		adapters[i].IpAddress = []string{address}
		adapters[i].IpConfig = &types.NetIpConfigInfo{IpAddress: []types.NetIpConfigInfoIpAddress{
			{IpAddress: address, PrefixLength: int32(prefix), State: string(types.NetIpConfigInfoIpAddressStatusPreferred)},
		}}
		routes = append(routes, defaultRoute(i, address, prefix, wanted.Gateway))
		if len(wanted.DnsServerList) != 0 || wanted.DnsDomain != "" {
			adapters[i].DnsConfig = &types.NetDnsConfigInfo{DomainName: wanted.DnsDomain, IpAddress: wanted.DnsServerList}
		}
	}
	if len(adapters) == 0 {
		return nil
	}
	first := adapters[0].IpAddress[0]
	// The vSphere provider waits for an address from which a gateway can be reached, and reads the gateways first.
	stack := types.GuestStackInfo{IpRouteConfig: &types.NetIpRouteConfigInfo{IpRoute: routes}}
	return []types.PropertyChange{
		change("guest.ipStack", []types.GuestStackInfo{stack}),
		change("guest.net", adapters),
		change("guest.ipAddress", first),
		change("summary.guest.ipAddress", first),
	}
}

// defaultRoute is the way out of a network adapter's network: by the gateway of the specification, or else by the first
// address.
func defaultRoute(adapter int, address string, prefix int, gateways []string) types.NetIpRouteConfigInfoIpRoute {
	first := net.ParseIP(address).Mask(net.CIDRMask(prefix, 32))
	gateway := ""
	if first != nil { // an IPv6 address has another kind of mask
		first[len(first)-1] |= 1
		gateway = first.String()
	}
	if len(gateways) != 0 {
		gateway = gateways[0]
	}
	return types.NetIpRouteConfigInfoIpRoute{
		Network: "0.0.0.0", Gateway: types.NetIpRouteConfigInfoGateway{IpAddress: gateway, Device: strconv.Itoa(adapter)},
	}
}

// withoutLink gives the devices with all network adapters disconnected, which some guests end up with in spite of a
// success. Adapters are copied, because property collectors may still hold the old ones.
func withoutLink(devices []types.BaseVirtualDevice) []types.BaseVirtualDevice {
	devices = slices.Clone(devices)
	for i, device := range devices {
		if _, ok := device.(types.BaseVirtualEthernetCard); !ok {
			continue
		}
		clone := reflect.New(reflect.TypeOf(device).Elem())
		clone.Elem().Set(reflect.ValueOf(device).Elem())
		devices[i] = clone.Interface().(types.BaseVirtualDevice)
		adapter := devices[i].GetVirtualDevice()
		link := types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true}
		if adapter.Connectable != nil {
			link = *adapter.Connectable
		}
		link.Connected = false
		adapter.Connectable = &link
	}
	return devices
}

// lease is the address that the lab's network hands out to a VM's network adapter: another one for every adapter.
func lease(ref types.ManagedObjectReference, adapter int) string {
	_, digits, _ := strings.Cut(ref.Value, "-")
	n, _ := strconv.Atoi(digits)
	n = n*8 + adapter
	return fmt.Sprintf("10.%d.%d.%d", n>>16&0xff, n>>8&0xff, n&0xff)
}

// vmEvent is the part that every event about a virtual machine has.
func vmEvent(ctx *simulator.Context, vm *simulator.VirtualMachine) types.VmEvent {
	event := types.VmEvent{Event: types.Event{
		Vm: &types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: vm.Name}, Vm: vm.Self},
	}}
	refs := []types.ManagedObjectReference{vm.Self}
	if vm.Runtime.Host != nil {
		refs = append(refs, *vm.Runtime.Host)
		if host, ok := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
			event.Host = &types.HostEventArgument{EntityEventArgument: types.EntityEventArgument{Name: host.Name}, Host: host.Self}
		}
	}
	for _, ref := range ancestors(ctx.Map, refs) {
		switch o := ctx.Map.Get(ref).(type) {
		case *simulator.Datacenter:
			event.Datacenter = &types.DatacenterEventArgument{EntityEventArgument: types.EntityEventArgument{Name: o.Name}, Datacenter: o.Self}
		case *simulator.ClusterComputeResource:
			event.ComputeResource = &types.ComputeResourceEventArgument{EntityEventArgument: types.EntityEventArgument{Name: o.Name}, ComputeResource: o.Self}
		}
	}
	return event
}
