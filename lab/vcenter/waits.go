package main

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// maxIdleStreams is the number of streams of one property collector that are kept while no call waits on them.
const maxIdleStreams = 64

// waits are all waits for updates at one property collector.
//
// The simulator keeps for a collector what is new since anybody's last call, so of several callers at once each gets
// only a part. A vCenter answers with what is new since the version that the call names. govmomi relies on that: it
// waits for all tasks of a session at once on the session's own collector, with a filter for each task. So every caller
// that starts with an empty version gets a stream here: a collector of its own, with copies of the filters.
type waits struct {
	collector *simulator.PropertyCollector

	mu       sync.Mutex
	filters  []waitFilter
	streams  map[string]*stream // by ID
	last     int                // number given out
	canceled chan struct{}      // closed where the calls that wait now shall end
}

// waitFilter is a filter of the collector that clients know.
type waitFilter struct {
	ref     types.ManagedObjectReference
	request types.CreateFilter
}

func newWaits(collector *simulator.PropertyCollector) *waits {
	return &waits{collector: collector, streams: make(map[string]*stream), canceled: make(chan struct{})}
}

// waitsOf returns the waits of a property collector.
func (l *Lab) waitsOf(collector *simulator.PropertyCollector) *waits {
	w, ok := l.waits.Load(collector)
	if !ok {
		w, _ = l.waits.LoadOrStore(collector, newWaits(collector))
	}
	return w.(*waits)
}

// wait answers a call of WaitForUpdatesEx.
func (w *waits) wait(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	s, answers, canceled := w.enter(ctx, req.Version)
	if s == nil {
		return waitFault(new(types.InvalidCollectorVersion))
	}
	defer w.leave(s)
	var end <-chan time.Time // never, for nil
	maxObjects := int32(0)
	if o := req.Options; o != nil {
		maxObjects = o.MaxObjectUpdates
		if o.MaxWaitSeconds != nil {
			timer := time.NewTimer(time.Duration(*o.MaxWaitSeconds) * time.Second)
			defer timer.Stop()
			end = timer.C
		}
	}
	for {
		select { // what has changed already goes before a wait that is over at once
		case <-s.changed:
		default:
			select {
			case <-s.changed:
			case <-canceled:
				return waitFault(new(types.RequestCanceled))
			case <-end:
				return waitAnswer(nil)
			}
		}
		set, fault := s.since(ctx, answers, maxObjects)
		if fault != nil {
			return &methods.WaitForUpdatesExBody{Fault_: fault}
		}
		if set != nil {
			return waitAnswer(set)
		}
	}
}

func waitAnswer(set *types.UpdateSet) soap.HasFault {
	return &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{Returnval: set}}
}

func waitFault(fault types.BaseMethodFault) soap.HasFault {
	return &methods.WaitForUpdatesExBody{Fault_: simulator.Fault("", fault)}
}

// enter returns the stream of a version, a new one for the empty version, and the number of answers that the caller
// has seen; no stream where the version is not one of the collector's. It also returns what ends the wait.
func (w *waits) enter(ctx *simulator.Context, version string) (*stream, int, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, count, _ := strings.Cut(version, "-")
	answers, _ := strconv.Atoi(count) // anything else is the first answer, which no stream repeats
	s := w.streams[id]
	if version == "" {
		s = w.start(ctx)
	}
	if s == nil {
		return nil, 0, nil
	}
	w.last++
	s.used = w.last
	s.calls.Add(1)
	if s.answeredSince(answers) {
		s.signal()
	}
	return s, answers, w.canceled
}

func (w *waits) leave(s *stream) { s.calls.Add(-1) }

// start adds a stream, in the place of the one that was idle longest where there are too many.
func (w *waits) start(ctx *simulator.Context) *stream {
	var oldest *stream
	idle := 0
	for _, s := range w.streams {
		if s.calls.Load() != 0 {
			continue
		}
		idle++
		if oldest == nil || s.used < oldest.used {
			oldest = s
		}
	}
	if idle >= maxIdleStreams {
		delete(w.streams, oldest.id)
		oldest.close(ctx)
	}
	w.last++
	s := newStream(ctx, strconv.Itoa(w.last), w.filters)
	w.streams[s.id] = s
	return s
}

// cancel ends the calls that wait now.
func (w *waits) cancel() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.canceled)
	w.canceled = make(chan struct{})
}

// create adds a filter, also to the waits that are under way.
func (w *waits) create(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := w.collector.CreateFilter(ctx, req)
	if body := res.(*methods.CreateFilterBody); body.Res != nil {
		filter := waitFilter{ref: body.Res.Returnval, request: *req}
		w.filters = append(w.filters, filter)
		for _, s := range w.streams {
			s.add(ctx, filter)
		}
	}
	return res
}

// remove removes a filter, and reports whether it was one of the collector's.
func (w *waits) remove(ctx *simulator.Context, ref types.ManagedObjectReference) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, filter := range w.filters {
		if filter.ref == ref {
			w.filters = append(w.filters[:i:i], w.filters[i+1:]...)
			for _, s := range w.streams {
				s.remove(ctx, ref)
			}
			return true
		}
	}
	return false
}

// destroy ends all waits for good.
func (w *waits) destroy(ctx *simulator.Context) {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, s := range w.streams {
		delete(w.streams, id)
		s.close(ctx)
	}
}
