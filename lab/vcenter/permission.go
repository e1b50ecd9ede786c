package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// hidden gives the VMs on which clients have no permission.
func (l *Lab) hidden() map[types.ManagedObjectReference]bool {
	var refs map[types.ManagedObjectReference]bool
	l.faults.mu.Lock()
	defer l.faults.mu.Unlock()
	for _, rule := range l.faults.rules {
		if rule.hides() {
			if refs == nil {
				refs = make(map[types.ManagedObjectReference]bool)
			}
			refs[rule.vm] = true
		}
	}
	return refs
}

// visible narrows a filter for events to those of VMs that are not hidden at the time.
func (l *Lab) visible(accept func(entry) bool) func(entry) bool {
	return func(e entry) bool {
		if !accept(e) {
			return false
		}
		refs := l.hidden()
		return len(refs) == 0 || !slices.ContainsFunc(e.entities, func(ref types.ManagedObjectReference) bool { return refs[ref] })
	}
}

// permit refuses calls to hidden VMs, and has the objects that list or read VMs answer without them.
func (l *Lab) permit(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	refs := l.hidden()
	if len(refs) == 0 {
		return nil, nil
	}
	if refs[m.This] {
		return nil, noPermission(m.This)
	}
	switch m.Name {
	case "Fetch":
		for _, spec := range propertySpecs(m) {
			if ref := spec.ObjectSet[0].Obj; refs[ref] {
				return nil, noPermission(ref)
			}
		}
	case "RetrieveProperties", "RetrievePropertiesEx", "ContinueRetrievePropertiesEx", "WaitForUpdatesEx":
		if collector, ok := ctx.Session.Get(m.This).(*simulator.PropertyCollector); ok {
			calls := &collectorCalls{PropertyCollector: collector, waits: l.waitsOf(collector)}
			return instead(m, &guardedCollector{collectorCalls: calls, hidden: refs}), nil
		}
	case "FindByUuid", "FindByInventoryPath", "FindAllByUuid":
		if index, ok := ctx.Map.Get(m.This).(*simulator.SearchIndex); ok {
			return instead(m, &guardedIndex{SearchIndex: index, hidden: refs}), nil
		}
	}
	return nil, nil
}

func noPermission(ref types.ManagedObjectReference) *types.NoPermission {
	return &types.NoPermission{Object: &ref, PrivilegeId: "System.Read"}
}

// guardedCollector reads properties as a user without any role on some VMs does: what was requested by name is
// reported as missing, with the reason; what a traversal would find is not there. Only lists that are read by the call
// Fetch still hold the reference, because govmomi keeps that call's types to itself.
type guardedCollector struct {
	*collectorCalls
	hidden map[types.ManagedObjectReference]bool
}

// RetrievePropertiesEx reads properties.
func (c *guardedCollector) RetrievePropertiesEx(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	res := c.PropertyCollector.RetrievePropertiesEx(ctx, req)
	if body := res.(*methods.RetrievePropertiesExBody); body.Res != nil && body.Res.Returnval != nil {
		body.Res.Returnval.Objects = c.guard(body.Res.Returnval.Objects, req.SpecSet)
	}
	return res
}

// RetrieveProperties reads properties in the older way.
func (c *guardedCollector) RetrieveProperties(ctx *simulator.Context, req *types.RetrieveProperties) soap.HasFault {
	res := c.PropertyCollector.RetrieveProperties(ctx, req)
	if body := res.(*methods.RetrievePropertiesBody); body.Res != nil {
		body.Res.Returnval = c.guard(body.Res.Returnval, req.SpecSet)
	}
	return res
}

// ContinueRetrievePropertiesEx reads the next page.
func (c *guardedCollector) ContinueRetrievePropertiesEx(ctx *simulator.Context, req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	res := c.PropertyCollector.ContinueRetrievePropertiesEx(ctx, req)
	if body := res.(*methods.ContinueRetrievePropertiesExBody); body.Res != nil {
		body.Res.Returnval.Objects = c.guard(body.Res.Returnval.Objects, nil)
	}
	return res
}

// WaitForUpdatesEx waits for changes.
func (c *guardedCollector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	res := c.collectorCalls.WaitForUpdatesEx(ctx, req)
	body := res.(*methods.WaitForUpdatesExBody)
	if body.Res == nil || body.Res.Returnval == nil {
		return res
	}
	for i := range body.Res.Returnval.FilterSet {
		updates := body.Res.Returnval.FilterSet[i].ObjectSet
		for j := range updates {
			if !c.hidden[updates[j].Obj] {
				continue
			}
			for _, changed := range updates[j].ChangeSet {
				updates[j].MissingSet = append(updates[j].MissingSet, missing(updates[j].Obj, changed.Name))
			}
			updates[j].ChangeSet = nil
		}
	}
	return res
}

func (c *guardedCollector) guard(objects []types.ObjectContent, specs []types.PropertyFilterSpec) []types.ObjectContent {
	var kept []types.ObjectContent
	for _, object := range objects {
		for i, property := range object.PropSet {
			if list, ok := property.Val.(types.ArrayOfManagedObjectReference); ok {
				list.ManagedObjectReference = slices.DeleteFunc(slices.Clone(list.ManagedObjectReference), func(ref types.ManagedObjectReference) bool {
					return c.hidden[ref]
				})
				object.PropSet[i].Val = list
			}
		}
		if c.hidden[object.Obj] {
			paths, direct := requested(object, specs)
			if !direct {
				continue
			}
			object.PropSet = nil
			for _, path := range paths {
				object.MissingSet = append(object.MissingSet, missing(object.Obj, path))
			}
		}
		kept = append(kept, object)
	}
	return kept
}

// requested returns the properties that a request selects of an object, and whether it names the object itself.
func requested(object types.ObjectContent, specs []types.PropertyFilterSpec) (paths []string, direct bool) {
	for _, spec := range specs {
		if !slices.ContainsFunc(spec.ObjectSet, func(o types.ObjectSpec) bool { return o.Obj == object.Obj }) {
			continue
		}
		direct = true
		for _, set := range spec.PropSet {
			paths = append(paths, set.PathSet...)
			if isTrue(set.All) {
				for _, property := range object.PropSet {
					paths = append(paths, property.Name)
				}
			}
		}
	}
	return paths, direct
}

func missing(ref types.ManagedObjectReference, path string) types.MissingProperty {
	return types.MissingProperty{Path: path, Fault: types.LocalizedMethodFault{Fault: noPermission(ref)}}
}

// guardedIndex does not find hidden VMs.
type guardedIndex struct {
	*simulator.SearchIndex
	hidden map[types.ManagedObjectReference]bool
}

// FindByUuid finds one VM.
func (g *guardedIndex) FindByUuid(ctx *simulator.Context, req *types.FindByUuid) soap.HasFault {
	res := g.SearchIndex.FindByUuid(ctx, req)
	if body := res.(*methods.FindByUuidBody); body.Res != nil {
		body.Res.Returnval = g.guard(body.Res.Returnval)
	}
	return res
}

// FindByInventoryPath finds the object at a path.
func (g *guardedIndex) FindByInventoryPath(ctx *simulator.Context, req *types.FindByInventoryPath) soap.HasFault {
	res := g.SearchIndex.FindByInventoryPath(ctx, req)
	if body := res.(*methods.FindByInventoryPathBody); body.Res != nil {
		body.Res.Returnval = g.guard(body.Res.Returnval)
	}
	return res
}

// FindAllByUuid finds all VMs with a UUID.
func (g *guardedIndex) FindAllByUuid(ctx *simulator.Context, req *types.FindAllByUuid) soap.HasFault {
	res := g.SearchIndex.FindAllByUuid(ctx, req)
	if body := res.(*methods.FindAllByUuidBody); body.Res != nil {
		body.Res.Returnval = slices.DeleteFunc(body.Res.Returnval, func(ref types.ManagedObjectReference) bool { return g.hidden[ref] })
	}
	return res
}

func (g *guardedIndex) guard(ref *types.ManagedObjectReference) *types.ManagedObjectReference {
	if ref != nil && g.hidden[*ref] {
		return nil
	}
	return ref
}
