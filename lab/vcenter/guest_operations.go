package main

import (
	"crypto/subtle"
	"fmt"
	"log"
	"path/filepath"
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// unlocked keeps the simulator from locking an object for the length of a call: guests do not wait for one another.
type unlocked struct{}

// Lock does nothing.
func (unlocked) Lock() {}

// Unlock does nothing.
func (unlocked) Unlock() {}

// serveGuests puts the lab's guest operations in the place of the simulator's, which need containers.
func (l *Lab) serveGuests() {
	registry := l.registry()
	content := registry.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content
	manager := registry.Get(*content.GuestOperationsManager).(*simulator.GuestOperationsManager)
	manager.AuthManager = &types.ManagedObjectReference{Type: "GuestAuthManager", Value: "guestOperationsAuthManager"}
	registry.Put(&guestAuth{GuestAuthManager: mo.GuestAuthManager{Self: *manager.AuthManager}, lab: l})
	registry.Put(&guestProcesses{GuestProcessManager: mo.GuestProcessManager{Self: *manager.ProcessManager}, lab: l})
	registry.Put(&guestFiles{GuestFileManager: mo.GuestFileManager{Self: *manager.FileManager}, lab: l})
}

// visit is one operation in a guest, by a user that the guest knows.
type visit struct {
	*computer
	guest    *guest
	user     string
	hostName string
	memory   time.Duration // how long an ended process is remembered
}

// visit checks that the guest takes operations from this user now.
func (l *Lab) visit(ctx *simulator.Context, ref types.ManagedObjectReference, auth types.BaseGuestAuthentication) (*visit, *soap.Fault) {
	vm := l.vm(ref)
	if vm == nil {
		return nil, simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
	}
	if l.hidden()[ref] {
		return nil, simulator.Fault("", noPermission(ref))
	}
	g := l.guest(ref)
	v := &visit{guest: g}
	var plan Plan
	var fault types.BaseMethodFault
	ctx.WithLock(vm, func() {
		switch state := vm.Runtime.PowerState; {
		case state != types.VirtualMachinePowerStatePoweredOn:
			fault = &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: state}
		case !isTrue(vm.Guest.GuestOperationsReady) || time.Now().Before(g.takesOperationsFrom()):
			fault = new(types.GuestOperationsUnavailable)
		}
		plan, _ = l.plan(vm) // a wrong plan has failed the customization already
		v.hostName = vm.Guest.HostName
	})
	if fault != nil {
		return nil, simulator.Fault("the guest takes no operations now", fault)
	}
	login, ok := auth.(*types.NamePasswordAuthentication)
	if !ok {
		return nil, simulator.Fault("the lab's guests know names and passwords only", new(types.OperationNotSupportedByGuest))
	}
	user := subtle.ConstantTimeCompare([]byte(login.Username), []byte(plan.GuestUser)) == 1
	password := subtle.ConstantTimeCompare([]byte(login.Password), []byte(plan.GuestPassword)) == 1
	if !user || !password {
		return nil, simulator.Fault("Failed to authenticate with the guest operating system using the supplied credentials.", new(types.InvalidGuestLogin))
	}
	computer, err := g.boots()
	if err != nil {
		log.Printf("the guest of %s: %s", ref.Value, err)
		return nil, simulator.Fault("the lab has no room for the guest", new(types.SystemError))
	}
	v.computer, v.user, v.memory = computer, login.Username, plan.ProcessMemory
	return v, nil
}

// boots gives the guest's computer, and makes it where there is none yet.
func (g *guest) boots() (*computer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.computer == nil {
		root, err := filepath.Abs(filepath.Join(g.lab.options.GuestsDir, g.ref.Value))
		if err != nil {
			return nil, err
		}
		computer, err := newComputer(root)
		if err != nil {
			return nil, err
		}
		g.computer = computer
	}
	return g.computer, nil
}

// halt ends the processes in the guest.
func (g *guest) halt() {
	g.mu.Lock()
	computer := g.computer
	g.mu.Unlock()
	if computer != nil {
		computer.halt()
	}
}

// haltGuests ends the processes in all guests.
func (l *Lab) haltGuests() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.guests {
		g.halt()
	}
}

// guestAuth checks credentials.
type guestAuth struct {
	mo.GuestAuthManager
	unlocked
	lab *Lab
}

// ValidateCredentialsInGuest does nothing but check.
func (m *guestAuth) ValidateCredentialsInGuest(ctx *simulator.Context, req *types.ValidateCredentialsInGuest) soap.HasFault {
	body := new(methods.ValidateCredentialsInGuestBody)
	if _, body.Fault_ = m.lab.visit(ctx, req.Vm, req.Auth); body.Fault_ == nil {
		body.Res = new(types.ValidateCredentialsInGuestResponse)
	}
	return body
}

// guestProcesses runs programs.
type guestProcesses struct {
	mo.GuestProcessManager
	unlocked
	lab *Lab
}

// StartProgramInGuest starts a program and does not wait for it.
func (m *guestProcesses) StartProgramInGuest(ctx *simulator.Context, req *types.StartProgramInGuest) soap.HasFault {
	body := new(methods.StartProgramInGuestBody)
	v, fault := m.lab.visit(ctx, req.Vm, req.Auth)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	spec := req.Spec.GetGuestProgramSpec()
	pid, err := v.start(spec, v.user, v.hostName, v.memory)
	if err != nil {
		body.Fault_ = simulator.Fault(fmt.Sprintf("cannot start: %s", err), fileFault(err, spec.ProgramPath))
		return body
	}
	body.Res = &types.StartProgramInGuestResponse{Returnval: pid}
	return body
}

// The answer of ListProcessesInGuest with exit codes of 0 in it, which govmomi's own type leaves out and a real vCenter
// sends. The names are those on the wire.
type (
	listProcessesBody struct {
		Res    *ListProcessesInGuestResponse `xml:"ListProcessesInGuestResponse,omitempty"`
		Fault_ *soap.Fault
	}

	// ListProcessesInGuestResponse is named as on the wire.
	ListProcessesInGuestResponse struct {
		Returnval []listedProcess `xml:"returnval,omitempty"`
	}

	listedProcess struct {
		Name      string     `xml:"name"`
		Pid       int64      `xml:"pid"`
		Owner     string     `xml:"owner"`
		CmdLine   string     `xml:"cmdLine"`
		StartTime time.Time  `xml:"startTime"`
		EndTime   *time.Time `xml:"endTime"`
		ExitCode  *int32     `xml:"exitCode"`
	}
)

// Fault gives the fault, if the call had one.
func (b *listProcessesBody) Fault() *soap.Fault { return b.Fault_ }

// ListProcessesInGuest lists what guest operations have started and the guest still remembers.
func (m *guestProcesses) ListProcessesInGuest(ctx *simulator.Context, req *types.ListProcessesInGuest) soap.HasFault {
	body := new(listProcessesBody)
	v, fault := m.lab.visit(ctx, req.Vm, req.Auth)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	body.Res = new(ListProcessesInGuestResponse)
	for _, p := range v.list(req.Pids) {
		listed := listedProcess{
			Name: p.info.Name, Pid: p.info.Pid, Owner: p.info.Owner, CmdLine: p.info.CmdLine,
			StartTime: p.info.StartTime, EndTime: p.info.EndTime,
		}
		if p.info.EndTime != nil {
			listed.ExitCode = &p.code
		}
		body.Res.Returnval = append(body.Res.Returnval, listed)
	}
	return body
}

// TerminateProcessInGuest ends one process.
func (m *guestProcesses) TerminateProcessInGuest(ctx *simulator.Context, req *types.TerminateProcessInGuest) soap.HasFault {
	body := new(methods.TerminateProcessInGuestBody)
	v, fault := m.lab.visit(ctx, req.Vm, req.Auth)
	switch {
	case fault != nil:
		body.Fault_ = fault
	case !v.terminate(req.Pid):
		body.Fault_ = simulator.Fault("", &types.GuestProcessNotFound{Pid: req.Pid})
	default:
		body.Res = new(types.TerminateProcessInGuestResponse)
	}
	return body
}

// ReadEnvironmentVariableInGuest returns the environment of a program.
func (m *guestProcesses) ReadEnvironmentVariableInGuest(ctx *simulator.Context, req *types.ReadEnvironmentVariableInGuest) soap.HasFault {
	body := new(methods.ReadEnvironmentVariableInGuestBody)
	v, fault := m.lab.visit(ctx, req.Vm, req.Auth)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	body.Res = &types.ReadEnvironmentVariableInGuestResponse{Returnval: chosen(v.environment(v.user, v.hostName), req.Names)}
	return body
}

func atoi(digits string) int {
	n, _ := strconv.Atoi(digits) // the pattern that found it allows digits only
	return n
}
