package main

import (
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// handle sees every call before the simulator does, and may put another object in the place of the one called.
func (l *Lab) handle(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	l.stats.call(m.Name)
	if ctx.Session == nil {
		return nil, l.anonymous(m)
	}
	l.sessions.remember(ctx.Session)
	l.resolve(ctx, m)
	if fault := l.unknownProperty(m); fault != nil {
		return nil, fault
	}
	if object, fault := l.permit(ctx, m); object != nil || fault != nil {
		return object, fault
	}
	switch m.Name {
	case "CloneVM_Task", "CustomizeVM_Task", "MigrateVM_Task", "ReconfigVM_Task":
		if vm := l.vm(m.This); vm != nil {
			return instead(m, &vmCalls{VirtualMachine: vm, lab: l}), nil
		}
	case "QueryEvents", "CreateCollectorForEvents":
		if manager, ok := ctx.Map.Get(m.This).(*simulator.EventManager); ok {
			return instead(m, &eventCalls{EventManager: manager, lab: l}), nil
		}
	case "CurrentTime":
		if service, ok := ctx.Map.Get(m.This).(*simulator.ServiceInstance); ok {
			return instead(m, &serviceCalls{ServiceInstance: service, lab: l}), nil
		}
	case "CreateVM_Task":
		if folder, ok := ctx.Map.Get(m.This).(*simulator.Folder); ok {
			return instead(m, &folderCalls{Folder: folder}), nil
		}
	case "WaitForUpdatesEx", "WaitForUpdates", "CancelWaitForUpdates", "CreateFilter", "DestroyPropertyCollector":
		if collector, ok := ctx.Session.Get(m.This).(*simulator.PropertyCollector); ok {
			return instead(m, &collectorCalls{PropertyCollector: collector, waits: l.waitsOf(collector)}), nil
		}
	case "DestroyPropertyFilter":
		l.forgetFilter(ctx, m.This)
	}
	return nil, nil
}

// instead makes an object answer one call. The service prefers an object that the session finds under the reference
// called, so that reference must find nothing; the request's body still has the real one. The object is never put in
// the registry, where the simulator expects its own types.
func instead(m *simulator.Method, object mo.Reference) mo.Reference {
	m.This.Value += "#lab"
	return object
}

// anonymous refuses to read properties without a session, which the simulator allows and a real vCenter does not. What
// clients read before they log in stays readable.
func (l *Lab) anonymous(m *simulator.Method) types.BaseMethodFault {
	for _, spec := range propertySpecs(m) {
		for _, object := range spec.ObjectSet {
			switch object.Obj.Type {
			case "ServiceInstance", "SessionManager":
			default:
				return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &object.Obj, PrivilegeId: "System.View"}}
			}
		}
	}
	return nil
}

// unknownProperty refuses properties that the pretended version does not have.
func (l *Lab) unknownProperty(m *simulator.Method) types.BaseMethodFault {
	if l.hasCustomizationInfo() {
		return nil
	}
	for _, spec := range propertySpecs(m) {
		for _, set := range spec.PropSet {
			for _, path := range set.PathSet {
				if strings.HasPrefix(path, "guest.customizationInfo") {
					return &types.InvalidProperty{Name: path}
				}
			}
		}
	}
	return nil
}

// propertySpecs gives what a call to the property collector asks for.
func propertySpecs(m *simulator.Method) []types.PropertyFilterSpec {
	switch body := m.Body.(type) {
	case *types.RetrieveProperties:
		return body.SpecSet
	case *types.RetrievePropertiesEx:
		return body.SpecSet
	case *types.CreateFilter:
		return []types.PropertyFilterSpec{body.Spec}
	}
	if m.Name != "Fetch" {
		return nil
	}
	// pyVmomi's way to read one property. The type of its body is not among govmomi's public ones.
	body := reflect.Indirect(reflect.ValueOf(m.Body))
	this, named := body.FieldByName("This").Interface().(types.ManagedObjectReference)
	property, ok := body.FieldByName("Prop").Interface().(string)
	if !named || !ok {
		return nil
	}
	return []types.PropertyFilterSpec{{
		PropSet:   []types.PropertySpec{{Type: this.Type, PathSet: []string{property}}},
		ObjectSet: []types.ObjectSpec{{Obj: this}},
	}}
}
