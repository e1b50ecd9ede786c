package main

import (
	"sync"
	"sync/atomic"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// narrowed hands a property collector the changes that its filters may be about.
//
// The simulator hands every change of every object to every property collector, and each one has all its filters read
// anew. With a thousand machines booting at once that would be slower by far than the vCenter that it stands for.
type narrowed struct {
	*simulator.PropertyCollector

	mu      sync.Mutex                                            // of the count
	filters int                                                   // known so far
	objects atomic.Pointer[map[types.ManagedObjectReference]bool] // nil: any object
}

// UpdateObject passes a change on, or drops it.
func (n *narrowed) UpdateObject(ctx *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	if objects := n.objects.Load(); objects == nil || (*objects)[object.Reference()] {
		n.PropertyCollector.UpdateObject(ctx, object, changes)
	}
}

// PutObject passes a new object on, where a filter might come to find it.
func (n *narrowed) PutObject(ctx *simulator.Context, object mo.Reference) {
	if n.objects.Load() == nil {
		n.PropertyCollector.PutObject(ctx, object)
	}
}

// RemoveObject passes the end of an object on, or drops it.
func (n *narrowed) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	if objects := n.objects.Load(); objects == nil || (*objects)[ref] {
		n.PropertyCollector.RemoveObject(ctx, ref)
	}
}

// narrow looks which objects the filters name. A filter with a traversal may find any object.
func (n *narrowed) narrow(ctx *simulator.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	objects := make(map[types.ManagedObjectReference]bool)
	everything := false
	for _, ref := range n.Filter {
		filter, ok := ctx.Session.Get(ref).(*simulator.PropertyFilter)
		if !ok {
			continue
		}
		for _, spec := range filter.Spec.ObjectSet {
			objects[spec.Obj] = true
			everything = everything || len(spec.SelectSet) != 0
		}
	}
	if everything {
		n.objects.Store(nil)
	} else {
		n.objects.Store(&objects)
	}
	if n.filters != len(n.Filter) {
		n.filters = len(n.Filter)
		n.PropertyCollector.PutObject(ctx, n.PropertyCollector) // has new filters read without waiting for a change
	}
}

// narrowing keeps a property collector's filters known while it is asked to wait.
type narrowing struct {
	*simulator.PropertyCollector
	lab *Lab
}

// WaitForUpdatesEx waits for changes.
func (c *narrowing) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	if req.Version != "" {
		if n := c.lab.narrowed(c.PropertyCollector); n != nil {
			n.narrow(ctx)
		}
		return c.PropertyCollector.WaitForUpdatesEx(ctx, req)
	}
	res := c.PropertyCollector.WaitForUpdatesEx(ctx, req) // which has it handed all changes from now on
	n := &narrowed{PropertyCollector: c.PropertyCollector, filters: len(c.Filter)}
	c.lab.waits.Store(c.PropertyCollector, n)
	ctx.Map.AddHandler(n)
	return res
}

// CreateFilter adds a filter, which a wait that is under way takes up at once.
func (c *narrowing) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	res := c.PropertyCollector.CreateFilter(ctx, req)
	if n := c.lab.narrowed(c.PropertyCollector); n != nil {
		n.narrow(ctx)
	}
	return res
}

// narrowed gives what stands between the changes and a property collector; nil where nothing does.
func (l *Lab) narrowed(collector *simulator.PropertyCollector) *narrowed {
	n, _ := l.waits.Load(collector)
	found, _ := n.(*narrowed)
	return found
}

// wait has a call of a property collector see to it that only its own changes reach it.
func (l *Lab) wait(ctx *simulator.Context, m *simulator.Method) mo.Reference {
	collector, ok := ctx.Session.Get(m.This).(*simulator.PropertyCollector)
	if !ok {
		return nil
	}
	switch m.Name {
	case "WaitForUpdatesEx", "CreateFilter":
		return instead(m, &narrowing{PropertyCollector: collector, lab: l})
	case "DestroyPropertyCollector":
		l.waits.Delete(collector)
	}
	return nil
}
