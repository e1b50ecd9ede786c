package main

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// historyLimit is the number of events that the lab remembers.
const historyLimit = 200_000

// maxQueryEvents is how many events one call may return, as on a real vCenter.
const maxQueryEvents = 1000

// Journal is the complete event history, in the order of the events' keys.
//
// The simulator itself keeps a thousand events and has no hook for the events that it posts itself. So the lab has a
// collector of its own, the tap, in the simulator's event manager: what arrives there is recorded here.
type Journal struct {
	tap types.ManagedObjectReference

	mu         sync.Mutex
	entries    []entry
	ofVM       map[types.ManagedObjectReference][]entry // the same entries by the VM that the event names
	collectors map[types.ManagedObjectReference]*eventCollector
	amendments map[types.BaseEvent]amendment
	keysAhead  int32         // of the simulator's own keys, which begin with 1; the sum wraps, as a vCenter's keys do
	ahead      time.Duration // of the computer's clock
}

// entry is one event with the inventory as it was when the event happened: the VM may be gone by the time that
// somebody asks for the events of its folder.
type entry struct {
	event     types.BaseEvent
	entities  []types.ManagedObjectReference // named by the event
	ancestors []types.ManagedObjectReference // above those, up to the root folder
}

// amendment is what the lab wants changed in an event after the simulator's event manager has stamped it.
type amendment func(*types.Event)

func newJournal(keysAhead int32) *Journal {
	return &Journal{
		keysAhead:  keysAhead,
		ofVM:       make(map[types.ManagedObjectReference][]entry),
		collectors: make(map[types.ManagedObjectReference]*eventCollector),
		amendments: make(map[types.BaseEvent]amendment),
	}
}

// connect sets the tap. From now on every event is recorded.
func (j *Journal) connect(ctx *simulator.Context) error {
	manager := ctx.Map.EventManager()
	filter := types.EventFilterSpec{MaxCount: 1} // the tap hands over one event at a time
	var fault error
	ctx.WithLock(manager, func() {
		body := manager.CreateCollectorForEvents(ctx, &types.CreateCollectorForEvents{This: manager.Self, Filter: filter})
		j.tap, fault = collectorOf(body)
	})
	return fault
}

// Post posts an event as the server itself does. The amendment may be nil.
func (j *Journal) Post(ctx *simulator.Context, event types.BaseEvent, change amendment) {
	if change != nil {
		j.mu.Lock()
		j.amendments[event] = change
		j.mu.Unlock()
	}
	manager := ctx.Map.EventManager()
	ctx.WithLock(manager, func() {
		manager.PostEvent(ctx, &types.PostEvent{This: manager.Self, EventToPost: event})
	})
}

// record keeps an event and hands it to the collectors. It runs while the event manager is locked, so in key order.
func (j *Journal) record(ctx *simulator.Context, event types.BaseEvent) {
	j.mu.Lock()
	event.GetEvent().Key += j.keysAhead
	event.GetEvent().CreatedTime = event.GetEvent().CreatedTime.Add(j.ahead)
	if change := j.amendments[event]; change != nil {
		delete(j.amendments, event)
		change(event.GetEvent())
	}
	e := entry{event: event, entities: eventEntities(event)}
	e.ancestors = ancestors(ctx.Map, e.entities)
	if len(j.entries) >= historyLimit {
		j.forget(historyLimit / 10) // a tenth at once: forgetting one by one is quadratic
	}
	j.keep(e)
	collectors := make([]*eventCollector, 0, len(j.collectors))
	for _, c := range j.collectors {
		collectors = append(collectors, c)
	}
	j.mu.Unlock()

	for _, c := range collectors {
		c.offer(ctx, e)
	}
}

// keep appends an entry, also to those of its VM.
func (j *Journal) keep(e entry) {
	j.entries = append(j.entries, e)
	if vm := e.event.GetEvent().Vm; vm != nil {
		j.ofVM[vm.Vm] = append(j.ofVM[vm.Vm], e)
	}
}

// forget deletes the oldest entries.
func (j *Journal) forget(count int) {
	rest := j.entries[count:]
	j.entries = nil
	clear(j.ofVM)
	for _, e := range rest {
		j.keep(e)
	}
}

// Query gives the newest events that the filter lets through, newest first. The events of one VM are found by an
// index, as a vCenter's database does: others' events do not make that query slower.
func (j *Journal) Query(within *types.EventFilterSpecByEntity, accept func(entry) bool, limit int) []types.BaseEvent {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries := j.entries
	if within != nil && within.Entity.Type == "VirtualMachine" {
		entries = j.ofVM[within.Entity]
	}
	var found []types.BaseEvent
	for _, e := range slices.Backward(entries) {
		if len(found) == limit {
			break
		}
		if accept(e) {
			found = append(found, e.event)
		}
	}
	return found
}

// Ahead returns by how much the server's clock is ahead of the computer's.
func (j *Journal) Ahead() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ahead
}

// SetAhead sets the server's clock.
func (j *Journal) SetAhead(by time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ahead = by
}

// Purge deletes all history. Events that collectors hold already stay there.
func (j *Journal) Purge() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget(len(j.entries))
}

// Shift moves the times of all events so far.
func (j *Journal) Shift(by time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		stamp := e.event.GetEvent()
		stamp.CreatedTime = stamp.CreatedTime.Add(by)
	}
}

// eventEntities lists the inventory objects that an event names.
func eventEntities(event types.BaseEvent) []types.ManagedObjectReference {
	e := event.GetEvent()
	var refs []types.ManagedObjectReference
	if e.Vm != nil {
		refs = append(refs, e.Vm.Vm)
	}
	if e.Host != nil {
		refs = append(refs, e.Host.Host)
	}
	if e.ComputeResource != nil {
		refs = append(refs, e.ComputeResource.ComputeResource)
	}
	if e.Datacenter != nil {
		refs = append(refs, e.Datacenter.Datacenter)
	}
	if e.Ds != nil {
		refs = append(refs, e.Ds.Datastore)
	}
	if e.Net != nil {
		refs = append(refs, e.Net.Network)
	}
	if e.Dvs != nil {
		refs = append(refs, e.Dvs.Dvs)
	}
	return refs
}

// ancestors lists what is above the objects in the inventory, each once.
func ancestors(registry *simulator.Registry, refs []types.ManagedObjectReference) []types.ManagedObjectReference {
	var found []types.ManagedObjectReference
	for _, ref := range refs {
		for {
			object, ok := registry.Get(ref).(mo.Entity)
			if !ok || object.Entity().Parent == nil {
				break
			}
			ref = *object.Entity().Parent
			if slices.Contains(found, ref) {
				break
			}
			found = append(found, ref)
		}
	}
	return found
}

// acceptor makes a filter specification into a function.
//
// eventTypeId names concrete classes only: whether a real vCenter lets a base class cover its subclasses is not
// documented, so that the lab is the stricter of the two. The older `type` covers subclasses.
func acceptor(spec types.EventFilterSpec) func(entry) bool {
	ids := make(map[string]bool, len(spec.EventTypeId))
	for _, id := range spec.EventTypeId {
		ids[strings.TrimPrefix(id, "vim.event.")] = true
	}
	return func(e entry) bool {
		stamp := e.event.GetEvent()
		if len(ids) != 0 && !ids[eventTypeID(e.event)] {
			return false
		}
		if len(spec.Type) != 0 && !slices.ContainsFunc(spec.Type, func(name string) bool { return isEvent(e.event, name) }) {
			return false
		}
		if t := spec.Time; t != nil {
			if t.BeginTime != nil && stamp.CreatedTime.Before(*t.BeginTime) || t.EndTime != nil && stamp.CreatedTime.After(*t.EndTime) {
				return false
			}
		}
		if spec.EventChainId != 0 && stamp.ChainId != spec.EventChainId {
			return false
		}
		if u := spec.UserName; u != nil && len(u.UserList) != 0 && !slices.Contains(u.UserList, stamp.UserName) {
			return false
		}
		return spec.Entity == nil || concerns(e, *spec.Entity)
	}
}

// concerns reports whether an event is one of the entity, of what is below it, or either.
func concerns(e entry, entity types.EventFilterSpecByEntity) bool {
	self, below := slices.Contains(e.entities, entity.Entity), slices.Contains(e.ancestors, entity.Entity)
	switch entity.Recursion {
	case types.EventFilterSpecRecursionOptionSelf:
		return self
	case types.EventFilterSpecRecursionOptionChildren:
		return below
	default:
		return self || below
	}
}

func eventTypeID(event types.BaseEvent) string {
	if extended, ok := event.(*types.EventEx); ok {
		return extended.EventTypeId
	}
	return reflect.TypeOf(event).Elem().Name()
}

// isEvent reports whether the event is of the class or of a subclass of it.
func isEvent(event types.BaseEvent, class string) bool {
	kind := reflect.TypeOf(event).Elem()
	if kind.Name() == class {
		return true
	}
	base, ok := kind.FieldByName(class)
	return ok && base.Anonymous
}

// withoutMessages copies events without their full text, for callers that have no use for it.
func withoutMessages(events []types.BaseEvent) []types.BaseEvent {
	bare := make([]types.BaseEvent, len(events))
	for i, event := range events {
		clone := reflect.New(reflect.TypeOf(event).Elem())
		clone.Elem().Set(reflect.ValueOf(event).Elem())
		bare[i] = clone.Interface().(types.BaseEvent)
		bare[i].GetEvent().FullFormattedMessage = ""
	}
	return bare
}
