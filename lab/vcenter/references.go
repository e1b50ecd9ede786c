package main

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// resolve puts the real class into the references of a call that name a base class of it. A vCenter finds an object by
// its ID alone, and the vSphere provider asks for every cluster as a ComputeResource; the simulator goes by both.
func (l *Lab) resolve(ctx *simulator.Context, m *simulator.Method) {
	resolveReference(ctx, &m.This)
	resolveAll(ctx, reflect.ValueOf(m.Body))
}

// resolveAll resolves the references in a value, however deep.
func resolveAll(ctx *simulator.Context, value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			resolveAll(ctx, value.Elem())
		}
	case reflect.Slice:
		if kind := value.Type().Elem().Kind(); kind == reflect.Uint8 || kind == reflect.String {
			return
		}
		for i := range value.Len() {
			resolveAll(ctx, value.Index(i))
		}
	case reflect.Struct:
		if !value.CanAddr() {
			return // a value within an interface, which the simulator's decoder makes of simple types only
		}
		if ref, ok := value.Addr().Interface().(*types.ManagedObjectReference); ok {
			resolveReference(ctx, ref)
			return
		}
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				resolveAll(ctx, value.Field(i))
			}
		}
	}
}

func resolveReference(ctx *simulator.Context, ref *types.ManagedObjectReference) {
	if ref.Value == "" || ctx.Map.Get(*ref) != nil || ctx.Session.Registry.Get(*ref) != nil {
		return
	}
	for _, object := range ctx.Map.AllReference("") {
		if known := object.Reference(); known.Value == ref.Value && extends(object, ref.Type) {
			ref.Type = known.Type
			return
		}
	}
}

// extends reports whether an object's class is a subclass of the one with the name.
func extends(object mo.Reference, class string) bool {
	kind := reflect.Indirect(reflect.ValueOf(object)).Type()
	if kind.Kind() != reflect.Struct {
		return false
	}
	base, ok := kind.FieldByName(class)
	return ok && base.Anonymous
}
