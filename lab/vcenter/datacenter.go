package main

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/units"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	datastoreName = "LocalDS_0"
	networkName   = "VM Network"
)

// newLab creates the inventory: one cluster, a datastore, a network, and the VMs.
func newLab(options Options) (*Lab, error) {
	model := simulator.VPX()
	model.Host, model.ClusterHost, model.Machine, model.Autostart = 0, options.Hosts, 0, false
	about := &model.ServiceContent.About
	about.Name = "VMware vCenter Server" // by which clients choose what they use: the vSphere provider, its tag client
	about.FullName = "Customization gate lab vCenter (govmomi simulator, not a VMware product) 8.0.3"
	about.Vendor = "Customization gate lab"
	about.Version, about.Build, about.ApiVersion = "8.0.3", "0", options.APIVersion
	about.InstanceUuid = uuid.NewString()
	if err := model.Create(); err != nil {
		return nil, err
	}
	if options.ESXi { // after the inventory is there, which an ESXi host could not hold
		registry := model.Map()
		content := registry.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance)
		host := &content.Content.About
		host.Name = "VMware ESXi"
		host.ApiType, host.ProductLineId = "HostAgent", "embeddedEsx"
		host.FullName = "Customization gate lab ESXi host (govmomi simulator, not a VMware product) " + host.Version
	}
	lab := &Lab{
		options:  options,
		model:    model,
		service:  model.Service,
		session:  &simulator.Session{Registry: simulator.NewRegistry(), Map: model.Map()},
		journal:  newJournal(options.KeysAhead),
		stats:    newStats(),
		sessions: newSessions(),
		faults:   new(Faults),
		guests:   make(map[types.ManagedObjectReference]*guest),
		named:    make(map[string]Settings),
	}
	lab.session.Key = uuid.NewString()
	registry := lab.registry()
	registry.Handler = lab.handle
	registry.AddHandler(watcher{lab})
	registry.EventManager().MaxCollector = int32(options.MaxCollectors)
	registry.SessionManager().ValidLogin = lab.validLogin
	lab.service.Listen = &url.URL{User: url.UserPassword(options.User, options.Password)}
	if err := lab.journal.connect(lab.context()); err != nil {
		return nil, err
	}
	lab.serveGuests()
	if err := lab.populate(); err != nil {
		return nil, err
	}
	return lab, nil
}

// populate makes the VMs, and brings them to where the flags want them.
func (l *Lab) populate() error {
	fleet, err := l.createVMs()
	if err != nil || len(fleet) == 0 {
		return err
	}
	fleet = fleet[1:] // the template stays as it is
	o := l.options
	if o.Customize || o.History {
		for _, vm := range fleet {
			ctx := l.context()
			ctx.WithLock(vm, func() { err = asError(l.request(ctx, vm, linuxSpecification(vm))) })
			if err != nil {
				return fmt.Errorf("customization of %s: %w", vm.Name, err)
			}
		}
	}
	if o.History {
		return l.relate(fleet)
	}
	if o.Autostart {
		return l.powerOnAll(fleet)
	}
	return nil
}

// createVMs makes the template and the VMs beside it.
func (l *Lab) createVMs() ([]*simulator.VirtualMachine, error) {
	registry := l.registry()
	datacenter := registry.Any("Datacenter").(*simulator.Datacenter)
	folder := registry.Get(datacenter.VmFolder).(*simulator.Folder)
	cluster := registry.Any("ClusterComputeResource").(*simulator.ClusterComputeResource)

	var tasks []types.ManagedObjectReference
	for i := range l.options.VMs {
		name := l.options.Template
		if i > 0 {
			name = fmt.Sprintf("vm-%d", i-1)
		}
		// The folder's lock goes over to the task, so that this waits until the VM before is made.
		ctx := l.context()
		ctx.WithLock(folder, func() {
			body := folder.CreateVMTask(ctx, &types.CreateVM_Task{
				This: folder.Self, Config: vmConfig(name), Pool: *cluster.ResourcePool,
			}).(*methods.CreateVM_TaskBody)
			tasks = append(tasks, body.Res.Returnval)
		})
	}
	vms := make([]*simulator.VirtualMachine, len(tasks))
	for i, ref := range tasks {
		result, fault := waitFor(l.context(), ref)
		if fault != nil {
			return nil, fmt.Errorf("creating VM %d: %w", i, asError(fault))
		}
		vms[i] = l.vm(result.(types.ManagedObjectReference))
	}
	return vms, nil
}

// vmConfig is a small Linux VM with one disk and one network adapter.
func vmConfig(name string) types.VirtualMachineConfigSpec {
	var devices object.VirtualDeviceList
	scsi, _ := devices.CreateSCSIController("pvscsi")
	file := fmt.Sprintf("[%s] %s", datastoreName, path.Join(name, "disk1.vmdk"))
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), types.ManagedObjectReference{}, file)
	disk.CapacityInKB = int64(units.GB*10) / units.KB
	adapter, _ := devices.CreateEthernetCard("vmxnet3", esx.EthernetCard.Backing)
	devices = append(devices, scsi, disk, adapter)
	changes, _ := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	return types.VirtualMachineConfigSpec{
		Name:         name,
		GuestId:      string(types.VirtualMachineGuestOsIdentifierUbuntu64Guest),
		NumCPUs:      1,
		MemoryMB:     1024,
		Files:        &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", datastoreName)},
		DeviceChange: changes,
	}
}

// linuxSpecification is the specification of the VMs that the flags have customized: a name, and addresses by DHCP.
func linuxSpecification(vm *simulator.VirtualMachine) *types.CustomizationSpec {
	spec := &types.CustomizationSpec{
		Identity: &types.CustomizationLinuxPrep{HostName: &types.CustomizationFixedName{Name: vm.Name}, Domain: "lab.test"},
	}
	for range vm.Guest.Net {
		spec.NicSettingMap = append(spec.NicSettingMap, types.CustomizationAdapterMapping{
			Adapter: types.CustomizationIPSettings{Ip: new(types.CustomizationDhcpIpGenerator)},
		})
	}
	return spec
}

// powerOnAll powers VMs on, some at a time.
func (l *Lab) powerOnAll(vms []*simulator.VirtualMachine) error {
	return each(vms, func(vm *simulator.VirtualMachine) error { return l.power(vm, "on") })
}

// relate makes the VMs customized some time ago: they are customized now, in no time, and then all that they left
// behind is set back.
func (l *Lab) relate(vms []*simulator.VirtualMachine) error {
	plan := l.options.Plan
	l.options.Plan.StartDelay, l.options.Plan.Duration = 0, 0
	defer func() { l.options.Plan = plan }()
	if err := l.powerOnAll(vms); err != nil {
		return err
	}
	back := -l.options.HistoryAge
	for _, vm := range vms {
		<-l.guest(vm.Self).settled()
		ctx := l.context()
		ctx.WithLock(vm, func() {
			booted := vm.Summary.Runtime.BootTime.Add(back)
			changes := []types.PropertyChange{change("runtime.bootTime", &booted), change("summary.runtime.bootTime", &booted)}
			if info := vm.Guest.CustomizationInfo; info != nil {
				moved := *info
				moved.StartTime, moved.EndTime = shifted(info.StartTime, back), shifted(info.EndTime, back)
				changes = append(changes, change("guest.customizationInfo", &moved))
			}
			ctx.Update(vm, changes)
		})
	}
	l.journal.Shift(back)
	return nil
}

func shifted(t *time.Time, by time.Duration) *time.Time {
	if t == nil {
		return nil
	}
	moved := t.Add(by)
	return &moved
}

// power does to a VM what the word says, as a person at the console or the cluster's HA would.
func (l *Lab) power(vm *simulator.VirtualMachine, kind string) error {
	steps, ok := map[string][]types.VirtualMachinePowerState{
		"on":         {types.VirtualMachinePowerStatePoweredOn},
		"off":        {types.VirtualMachinePowerStatePoweredOff},
		"reset":      {types.VirtualMachinePowerStatePoweredOff, types.VirtualMachinePowerStatePoweredOn},
		"ha_restart": {types.VirtualMachinePowerStatePoweredOff, types.VirtualMachinePowerStatePoweredOn},
	}[kind]
	if !ok {
		return fmt.Errorf("unknown kind %q; known: on, off, reset, ha_restart", kind)
	}
	for _, state := range steps {
		ctx := l.context()
		var ref types.ManagedObjectReference
		var refused error
		ctx.WithLock(vm, func() {
			if state == types.VirtualMachinePowerStatePoweredOff {
				ref = vm.PowerOffVMTask(ctx, &types.PowerOffVM_Task{This: vm.Self}).(*methods.PowerOffVM_TaskBody).Res.Returnval
				return
			}
			body := vm.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: vm.Self}).(*methods.PowerOnVM_TaskBody)
			if body.Fault_ != nil {
				refused = fmt.Errorf("%s: %s", vm.Name, body.Fault_.String)
				return
			}
			ref = body.Res.Returnval
		})
		if refused != nil {
			return refused
		}
		if _, fault := waitFor(ctx, ref); fault != nil {
			return fmt.Errorf("%s: %w", l.nameOf(vm), asError(fault))
		}
	}
	return nil
}

// each does something to all VMs, some at a time, and gives the errors.
func each(vms []*simulator.VirtualMachine, do func(*simulator.VirtualMachine) error) error {
	work := make(chan *simulator.VirtualMachine)
	failures := make(chan error, len(vms))
	var group sync.WaitGroup
	for range 16 * runtime.NumCPU() { // most of the time of a task is waiting
		group.Go(func() {
			for vm := range work {
				failures <- do(vm)
			}
		})
	}
	for _, vm := range vms {
		work <- vm
	}
	close(work)
	group.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func asError(fault types.BaseMethodFault) error {
	if fault == nil {
		return nil
	}
	return fmt.Errorf("%T", fault)
}
