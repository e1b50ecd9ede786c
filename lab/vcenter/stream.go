package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// passAfter is when a stream gives the simulator what changed while it answers a call. The simulator waits 20 ms before
// it answers, and reads all that the filters name for each update that it was given: so it gets few, which are merged.
const passAfter = 17 * time.Millisecond

// stream hands one caller what changes. It is a property collector of the simulator's that no other caller uses.
//
// The simulator hands every change of every object to every property collector, and each one reads all its filters
// again. With a thousand VMs that boot at once that would be slower by far than the vCenter that it simulates, so a
// stream passes on only the changes that its filters may be about.
type stream struct {
	*simulator.PropertyCollector
	id      string
	used    int // the higher, the later; guarded by the waits' lock
	calls   atomic.Int32
	changed chan struct{} // holds a token where an answer may have become possible

	mu      sync.Mutex                                                    // of what follows
	copies  map[types.ManagedObjectReference]types.ManagedObjectReference // filters by those that clients know
	answers int                                                           // given so far
	latest  *types.UpdateSet                                              // given last
	objects atomic.Pointer[map[types.ManagedObjectReference]bool]         // that the filters name; nil: any object

	updatesMu sync.Mutex
	updates   []types.ObjectUpdate // that the simulator was not given yet
}

func newStream(ctx *simulator.Context, id string, filters []waitFilter) *stream {
	s := &stream{
		PropertyCollector: new(simulator.PropertyCollector),
		id:                id,
		changed:           make(chan struct{}, 1),
		copies:            make(map[types.ManagedObjectReference]types.ManagedObjectReference),
	}
	ctx.Session.Put(s.PropertyCollector)
	for _, filter := range filters {
		s.add(ctx, filter)
	}
	s.signal()
	return s
}

func (s *stream) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// answeredSince reports whether there is an answer that a caller has not received: one that was lost, or that
// another call with the same version was given.
func (s *stream) answeredSince(answers int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return answers < s.answers
}

// since returns what is new to a caller that has seen so many answers; nil where there is nothing.
func (s *stream) since(ctx *simulator.Context, answers int, maxObjects int32) (*types.UpdateSet, *soap.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answers < s.answers {
		return s.latest, nil
	}
	known := "-"
	if s.answers == 0 {
		known = ""
	}
	s.pass(ctx)
	passing := time.AfterFunc(passAfter, func() { s.pass(ctx) })
	defer passing.Stop()
	body := s.PropertyCollector.WaitForUpdatesEx(ctx, &types.WaitForUpdatesEx{
		This: s.Self, Version: known,
		Options: &types.WaitOptions{MaxWaitSeconds: types.NewInt32(0), MaxObjectUpdates: maxObjects},
	}).(*methods.WaitForUpdatesExBody)
	if known == "" { // the simulator hands it all changes from now on
		ctx.Map.AddHandler(s)
		s.signal() // one may have come before the handler
	}
	if body.Fault_ != nil {
		return nil, body.Fault_
	}
	set := body.Res.Returnval
	if set == nil {
		return nil, nil
	}
	for i := range set.FilterSet {
		for known, mine := range s.copies {
			if set.FilterSet[i].Filter == mine {
				set.FilterSet[i].Filter = known
			}
		}
		set.FilterSet[i].ObjectSet = merged(set.FilterSet[i].ObjectSet)
		for _, update := range set.FilterSet[i].ObjectSet {
			if update.Kind == types.ObjectUpdateKindEnter { // in the order of their names, not of the filter
				slices.SortStableFunc(update.ChangeSet, func(a, b types.PropertyChange) int { return strings.Compare(a.Name, b.Name) })
			}
		}
	}
	s.answers++
	set.Version = fmt.Sprintf("%s-%d", s.id, s.answers)
	s.latest = set
	// The simulator may hold more: the rest of a truncated answer, and what has changed since it was calculated. Their
	// signals may be one token, so each answer leaves one to the next call, which waits on where there is nothing.
	s.signal()
	return set, nil
}

// merged gives the updates with one change of each property of an object, the newest. The simulator lists every change
// since the last call; a vCenter compares the values of two moments, so that it never sends what a later change replaced.
func merged(updates []types.ObjectUpdate) []types.ObjectUpdate {
	var result []types.ObjectUpdate
	at := make(map[types.ManagedObjectReference]int) // the places of the updates that later ones of the object join
	for _, update := range updates {
		i, ok := at[update.Obj]
		switch {
		case update.Kind != types.ObjectUpdateKindModify:
			delete(at, update.Obj)
			result = append(result, update)
		case !ok:
			at[update.Obj] = len(result)
			update.ChangeSet = withNewest(nil, update.ChangeSet)
			result = append(result, update)
		default:
			result[i].ChangeSet = withNewest(result[i].ChangeSet, update.ChangeSet)
		}
	}
	return result
}

func withNewest(changes, newer []types.PropertyChange) []types.PropertyChange {
	for _, change := range newer {
		same := func(c types.PropertyChange) bool { return c.Name == change.Name }
		if i := slices.IndexFunc(changes, same); i >= 0 {
			changes[i] = change
		} else {
			changes = append(changes, change)
		}
	}
	return changes
}

func (s *stream) add(ctx *simulator.Context, filter waitFilter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := s.PropertyCollector.CreateFilter(ctx, &types.CreateFilter{
		This: s.Self, Spec: filter.request.Spec, PartialUpdates: filter.request.PartialUpdates,
	}).(*methods.CreateFilterBody)
	s.copies[filter.ref] = res.Res.Returnval
	s.narrow(ctx)
	if s.answers != 0 {
		s.PropertyCollector.PutObject(ctx, s.PropertyCollector) // has the new filter read without another change
		s.signal()
	}
}

func (s *stream) remove(ctx *simulator.Context, ref types.ManagedObjectReference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if filter, ok := ctx.Session.Get(s.copies[ref]).(*simulator.PropertyFilter); ok {
		filter.DestroyPropertyFilter(ctx, &types.DestroyPropertyFilter{This: filter.Self})
	}
	delete(s.copies, ref)
	s.narrow(ctx)
}

func (s *stream) close(ctx *simulator.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.DestroyPropertyCollector(ctx, &types.DestroyPropertyCollector{This: s.Self})
}

// narrow looks which objects the filters name. A filter with a traversal may find any object.
func (s *stream) narrow(ctx *simulator.Context) {
	objects := make(map[types.ManagedObjectReference]bool)
	everything := false
	for _, ref := range s.copies {
		filter := ctx.Session.Get(ref).(*simulator.PropertyFilter)
		for _, spec := range filter.Spec.ObjectSet {
			objects[spec.Obj] = true
			everything = everything || len(spec.SelectSet) != 0
		}
	}
	if everything {
		s.objects.Store(nil)
	} else {
		s.objects.Store(&objects)
	}
}

func (s *stream) concerns(ref types.ManagedObjectReference) bool {
	objects := s.objects.Load()
	return objects == nil || (*objects)[ref]
}

// UpdateObject keeps a change for the next answer, or drops it.
func (s *stream) UpdateObject(_ *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	ref := object.Reference()
	if s.concerns(ref) {
		s.keep(types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindModify, ChangeSet: changes})
	}
}

// PutObject keeps a new object for the next answer, where a filter might come to find it.
func (s *stream) PutObject(_ *simulator.Context, object mo.Reference) {
	if s.objects.Load() == nil {
		s.keep(types.ObjectUpdate{Obj: object.Reference(), Kind: types.ObjectUpdateKindEnter})
	}
}

// RemoveObject keeps the end of an object for the next answer, or drops it.
func (s *stream) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	if s.concerns(ref) {
		s.keep(types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindLeave})
	}
}

func (s *stream) keep(update types.ObjectUpdate) {
	s.updatesMu.Lock()
	s.updates = append(s.updates, update)
	s.updatesMu.Unlock()
	s.signal()
}

// pass gives the simulator the updates so far. Where that is too late for the answer in progress, the next one has them.
func (s *stream) pass(ctx *simulator.Context) {
	s.updatesMu.Lock()
	defer s.updatesMu.Unlock()
	for _, update := range merged(s.updates) {
		switch update.Kind {
		case types.ObjectUpdateKindEnter:
			s.PropertyCollector.PutObject(ctx, update.Obj)
		case types.ObjectUpdateKindModify:
			s.PropertyCollector.UpdateObject(ctx, update.Obj, update.ChangeSet)
		case types.ObjectUpdateKindLeave:
			s.PropertyCollector.RemoveObject(ctx, update.Obj)
		}
		s.signal()
	}
	s.updates = nil
}
