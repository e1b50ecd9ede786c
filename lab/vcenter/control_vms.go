package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// setPlan says how the VM of that name behaves from its next power-on. The VM need not exist yet.
func (c *Control) setPlan(r *http.Request) (any, error) {
	var settings Settings
	if err := read(r, &settings); err != nil {
		return nil, err
	}
	plan := c.lab.options.Plan
	if err := settings.Apply(&plan); err != nil {
		return nil, err
	}
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	c.lab.named[r.PathValue("name")] = settings
	return nil, nil
}

func (c *Control) forgetPlan(r *http.Request) (any, error) {
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	delete(c.lab.named, r.PathValue("name"))
	return nil, nil
}

// power takes {"kind": "on", "off", "reset" or "ha_restart"}; the name "*" is every VM but the template.
func (c *Control) power(r *http.Request) (any, error) {
	var body struct {
		Kind string `json:"kind"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	vms, err := c.vms(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return nil, each(vms, func(vm *simulator.VirtualMachine) error { return c.lab.power(vm, body.Kind) })
}

// endCustomization takes a plan's outcome and texts, and ends the customization that runs with them, whatever the
// VM's own plan says. It answers when that has ended.
func (c *Control) endCustomization(r *http.Request) (any, error) {
	var settings Settings
	if err := read(r, &settings); err != nil {
		return nil, err
	}
	var plan Plan
	if err := settings.Apply(&plan); err != nil {
		return nil, err
	}
	if _, failed := failures[plan.Outcome]; !failed && plan.Outcome != outcomeSucceeded {
		return nil, fmt.Errorf("outcome %q is no end", plan.Outcome)
	}
	vms, err := c.vms(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return nil, each(vms, func(vm *simulator.VirtualMachine) error {
		order := endOrder{plan: settings, done: make(chan struct{})}
		select {
		case c.lab.guest(vm.Self).endOrders <- order:
			<-order.done
			return nil
		case <-time.After(time.Second): // its start is reported a moment before it can be ended
			return fmt.Errorf("%s: no customization runs", c.lab.nameOf(vm))
		}
	})
}

func (c *Control) vms(name string) ([]*simulator.VirtualMachine, error) {
	if name != "*" {
		vm := c.lab.find(name)
		if vm == nil {
			return nil, fmt.Errorf("virtual machine %q: %w", name, errNotFound)
		}
		return []*simulator.VirtualMachine{vm}, nil
	}
	var vms []*simulator.VirtualMachine
	for _, entity := range c.lab.registry().All("VirtualMachine") {
		if vm := entity.(*simulator.VirtualMachine); c.lab.nameOf(vm) != c.lab.options.Template {
			vms = append(vms, vm)
		}
	}
	return vms, nil
}

// customize has a Linux specification wait for the VM's next power-on; the VM has to be off.
func (c *Control) customize(r *http.Request) (any, error) {
	vms, err := c.vms(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return nil, each(vms, func(vm *simulator.VirtualMachine) (err error) {
		ctx := c.lab.context()
		ctx.WithLock(vm, func() {
			if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
				err = fmt.Errorf("%s is on", vm.Name)
				return
			}
			err = asError(c.lab.request(ctx, vm, linuxSpecification(vm)))
		})
		return err
	})
}

// destroy deletes the VM, which has to be off.
func (c *Control) destroy(r *http.Request) (any, error) {
	if r.PathValue("name") == "*" {
		return nil, errors.New("one VM at a time is destroyed")
	}
	vms, err := c.vms(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return nil, each(vms, func(vm *simulator.VirtualMachine) error {
		ctx := c.lab.context()
		var task types.ManagedObjectReference
		ctx.WithLock(vm, func() {
			task = vm.DestroyTask(ctx, &types.Destroy_Task{This: vm.Self}).(*methods.Destroy_TaskBody).Res.Returnval
		})
		_, fault := waitFor(ctx, task)
		return asError(fault)
	})
}
