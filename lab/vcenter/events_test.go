package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

// journalOf returns a journal with one event for each of the VMs, with the keys 1, 2, 3.
func journalOf(vms ...string) *Journal {
	journal := newJournal(0)
	for i, vm := range vms {
		event := &types.VmPoweredOnEvent{VmEvent: types.VmEvent{Event: types.Event{Key: int32(i + 1), Vm: vmNamed(vm)}}}
		journal.keep(entry{event: event, entities: eventEntities(event)})
	}
	return journal
}

func vmNamed(id string) *types.VmEventArgument {
	return &types.VmEventArgument{Vm: types.ManagedObjectReference{Type: "VirtualMachine", Value: id}}
}

// keysOf queries the events of a VM, and counts how many entries the query looked at.
func keysOf(journal *Journal, vm string, limit int) (keys []int32, looks int) {
	spec := types.EventFilterSpec{Entity: &types.EventFilterSpecByEntity{
		Entity: vmNamed(vm).Vm, Recursion: types.EventFilterSpecRecursionOptionAll,
	}}
	accept := acceptor(spec)
	events := journal.Query(spec.Entity, func(e entry) bool { looks++; return accept(e) }, limit)
	for _, event := range events {
		keys = append(keys, event.GetEvent().Key)
	}
	return keys, looks
}

func TestQueryOfOneVMLooksAtItsEventsOnly(t *testing.T) {
	journal := journalOf("vm-1", "vm-2", "vm-2", "vm-1", "vm-2")
	if keys, looks := keysOf(journal, "vm-1", 10); len(keys) != 2 || keys[0] != 4 || keys[1] != 1 || looks != 2 {
		t.Errorf("got the keys %v after %d looks", keys, looks)
	}
	if keys, _ := keysOf(journal, "vm-2", 2); len(keys) != 2 || keys[0] != 5 || keys[1] != 3 {
		t.Errorf("got the keys %v, not the newest two", keys)
	}
	all := journal.Query(nil, func(entry) bool { return true }, 10)
	if len(all) != 5 || all[0].GetEvent().Key != 5 {
		t.Errorf("got %d events of all VMs", len(all))
	}
}

func TestEventsThatAreForgottenAreNotFoundByTheirVM(t *testing.T) {
	journal := journalOf("vm-1", "vm-2", "vm-1")
	journal.forget(2)
	if keys, _ := keysOf(journal, "vm-1", 10); len(keys) != 1 || keys[0] != 3 {
		t.Errorf("got the keys %v", keys)
	}
	if keys, _ := keysOf(journal, "vm-2", 10); keys != nil {
		t.Errorf("got the keys %v of a VM whose event is forgotten", keys)
	}
	journal.Purge()
	if keys, _ := keysOf(journal, "vm-1", 10); keys != nil {
		t.Errorf("got the keys %v after all were deleted", keys)
	}
}
