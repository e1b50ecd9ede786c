package main

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// keep stores the settings of a specification that the simulator leaves out of a VM's configuration. A client that does
// not read back what it has set takes the VM for changed, and configures it again in every run.
func keep(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) {
	if spec == nil {
		return
	}
	ctx.WithLock(vm, func() {
		given, kept := reflect.ValueOf(*spec), reflect.ValueOf(vm.Config).Elem()
		for i := range given.NumField() {
			field, value := given.Type().Field(i), given.Field(i)
			if field.Name == "ChangeVersion" || value.IsZero() || !isSimple(field.Type) {
				continue // the first is a condition; what is composed of others, the simulator merges
			}
			if setting := kept.FieldByName(field.Name); setting.IsValid() && setting.Type() == field.Type {
				setting.Set(value)
			}
		}
	})
}

// isSimple reports whether a type is a word, a number or a truth value, or a pointer to one.
func isSimple(kind reflect.Type) bool {
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	switch kind.Kind() {
	case reflect.Bool, reflect.String, reflect.Int16, reflect.Int32, reflect.Int64:
		return true
	}
	return false
}

// folderCalls answers the calls to a folder that the lab does better than the simulator.
type folderCalls struct{ *simulator.Folder }

// CreateVMTask creates a VM with all its settings.
func (c *folderCalls) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	creating := c.Folder.CreateVMTask(ctx, req).(*methods.CreateVM_TaskBody)
	if creating.Fault_ != nil {
		return creating
	}
	task := simulator.CreateTask(c.Folder, "createVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		result, fault := waitFor(ctx, creating.Res.Returnval)
		if fault == nil {
			keep(ctx, ctx.Map.Get(result.(types.ManagedObjectReference)).(*simulator.VirtualMachine), &req.Config)
		}
		return result, fault
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// ReconfigVMTask configures a VM with all settings.
func (c *vmCalls) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	configuring := c.VirtualMachine.ReconfigVMTask(ctx, req).(*methods.ReconfigVM_TaskBody)
	if configuring.Fault_ != nil {
		return configuring
	}
	task := simulator.CreateTask(c, "reconfigVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		_, fault := waitFor(ctx, configuring.Res.Returnval)
		if fault == nil {
			keep(ctx, c.VirtualMachine, &req.Spec)
		}
		return nil, fault
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task.Run(ctx)}}
}
