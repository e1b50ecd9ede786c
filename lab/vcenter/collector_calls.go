package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// collectorCalls answers the calls of a property collector that have to do with waiting for updates.
type collectorCalls struct {
	*simulator.PropertyCollector
	waits *waits
}

// WaitForUpdatesEx waits for changes.
func (c *collectorCalls) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	return c.waits.wait(ctx, req)
}

// WaitForUpdates waits for changes in the older way, without an end.
func (c *collectorCalls) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	res := c.waits.wait(ctx, &types.WaitForUpdatesEx{This: req.This, Version: req.Version}).(*methods.WaitForUpdatesExBody)
	body := &methods.WaitForUpdatesBody{Fault_: res.Fault_}
	if res.Res != nil {
		body.Res = &types.WaitForUpdatesResponse{Returnval: *res.Res.Returnval}
	}
	return body
}

// CancelWaitForUpdates ends the calls that wait.
func (c *collectorCalls) CancelWaitForUpdates(*types.CancelWaitForUpdates) soap.HasFault {
	c.waits.cancel()
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

// CreateFilter adds a filter, which waits that are under way apply at once.
func (c *collectorCalls) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	return c.waits.create(ctx, req)
}

// DestroyPropertyCollector ends the waits and removes the collector with its filters.
func (c *collectorCalls) DestroyPropertyCollector(ctx *simulator.Context, req *types.DestroyPropertyCollector) soap.HasFault {
	c.waits.destroy(ctx)
	return c.PropertyCollector.DestroyPropertyCollector(ctx, req)
}

// forgetFilter takes a filter that is about to be destroyed out of the waits.
func (l *Lab) forgetFilter(ctx *simulator.Context, ref types.ManagedObjectReference) {
	l.waits.Range(func(_, w any) bool { return !w.(*waits).remove(ctx, ref) })
}
