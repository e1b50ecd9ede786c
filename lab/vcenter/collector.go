package main

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	defaultPageSize = 10

	// collectorBuffer is how many events a collector holds for its reader; older ones are dropped unread.
	collectorBuffer = 1001
)

// eventCalls answers the event manager's calls that the lab does better than the simulator.
type eventCalls struct {
	*simulator.EventManager
	lab *Lab
}

// QueryEvents answers from the complete history: newest first, a thousand at most.
func (c *eventCalls) QueryEvents(ctx *simulator.Context, req *types.QueryEvents) soap.HasFault {
	body := new(methods.QueryEventsBody)
	limit, fault := c.check(ctx, req.Filter, maxQueryEvents)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	events := c.lab.journal.Query(req.Filter.Entity, c.lab.visible(acceptor(req.Filter)), limit)
	if isTrue(req.Filter.DisableFullMessage) {
		events = withoutMessages(events)
	}
	body.Res = &types.QueryEventsResponse{Returnval: events}
	return body
}

// CreateCollectorForEvents makes a collector that starts with the matching events of the history.
func (c *eventCalls) CreateCollectorForEvents(ctx *simulator.Context, req *types.CreateCollectorForEvents) soap.HasFault {
	body := new(methods.CreateCollectorForEventsBody)
	size, fault := c.check(ctx, req.Filter, defaultPageSize)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	c.lab.sweep(ctx)

	journal := c.lab.journal
	journal.mu.Lock()
	defer journal.mu.Unlock()
	if len(journal.collectors) >= int(c.MaxCollector) {
		body.Fault_ = simulator.Fault("Too many event collectors to create", new(types.InvalidState))
		return body
	}
	collector := &eventCollector{
		journal: journal,
		session: ctx.Session.Key,
		accept:  c.lab.visible(acceptor(req.Filter)),
		bare:    isTrue(req.Filter.DisableFullMessage),
		size:    size,
		limit:   collectorBuffer,
		last:    -1,
	}
	collector.Self.Type = "EventHistoryCollector"
	collector.Filter = req.Filter
	for _, e := range journal.entries {
		if collector.accept(e) {
			collector.events = append(collector.events, e.event)
		}
	}
	// A collector scrolls over all of the history that it began with, so its buffer is at least that long.
	collector.limit = max(collector.limit, len(collector.events))
	ref := ctx.Session.Put(collector).Reference()
	journal.collectors[ref] = collector
	body.Res = &types.CreateCollectorForEventsResponse{Returnval: ref}
	return body
}

// check refuses what a real server refuses in a filter, and gives the count that it asks for.
func (c *eventCalls) check(ctx *simulator.Context, filter types.EventFilterSpec, count int) (int, *soap.Fault) {
	if ctx.Map.IsESX() {
		return 0, simulator.Fault("an ESXi host keeps no event history", new(types.NotSupported))
	}
	if filter.MaxCount < 0 || filter.MaxCount > maxQueryEvents {
		return 0, simulator.Fault("", &types.InvalidArgument{InvalidProperty: "maxCount"})
	}
	if filter.MaxCount != 0 {
		count = int(filter.MaxCount)
	}
	if filter.Entity != nil && ctx.Map.Get(filter.Entity.Entity) == nil {
		return 0, simulator.Fault("", &types.ManagedObjectNotFound{Obj: filter.Entity.Entity})
	}
	return count, nil
}

// eventCollector is a client's view of the event stream, with the positions and the limits of a real one: it starts
// at its oldest event, and a reader that falls more than a buffer behind reads nothing any more until it rewinds.
type eventCollector struct {
	mo.EventHistoryCollector

	journal *Journal
	session string
	accept  func(entry) bool
	bare    bool
	size    int

	events  []types.BaseEvent // oldest first
	dropped int               // how many have fallen out at the old end
	limit   int               // how many it holds
	last    int               // number of the event that was read last, counted from the very first; -1: none
}

// offer adds a new event if it passes the filter, and changes latestPage, of which waiting clients are notified.
func (c *eventCollector) offer(ctx *simulator.Context, e entry) {
	if !c.accept(e) {
		return
	}
	ctx.WithLock(c, func() {
		c.events = append(c.events, e.event)
		if n := len(c.events) - c.limit; n > 0 {
			c.events = c.events[n:]
			c.dropped += n
		}
		ctx.Update(c, []types.PropertyChange{{Name: "latestPage", Val: c.latestPage()}})
	})
}

func (c *eventCollector) latestPage() []types.BaseEvent {
	page := slices.Clone(c.events[max(0, len(c.events)-c.size):])
	slices.Reverse(page)
	return c.dress(page)
}

func (c *eventCollector) dress(events []types.BaseEvent) []types.BaseEvent {
	if c.bare {
		return withoutMessages(events)
	}
	return events
}

// Get gives the property collector the object with its latest page.
func (c *eventCollector) Get() mo.Reference {
	view := &mo.EventHistoryCollector{HistoryCollector: c.HistoryCollector}
	view.LatestPage = c.latestPage()
	return view
}

// ReadNextEvents reads towards the newest event.
func (c *eventCollector) ReadNextEvents(_ *simulator.Context, req *types.ReadNextEvents) soap.HasFault {
	body := new(methods.ReadNextEventsBody)
	if body.Fault_ = checkCount(req.MaxCount); body.Fault_ != nil {
		return body
	}
	body.Res = new(types.ReadNextEventsResponse)
	from := c.last + 1 - c.dropped
	if c.last < 0 {
		from = 0
	}
	if from <= 0 && c.last >= 0 {
		return body // the event that was read last is gone: the place is lost
	}
	to := min(len(c.events), from+int(req.MaxCount))
	if from < to {
		body.Res.Returnval = c.dress(slices.Clone(c.events[from:to]))
		c.last = c.dropped + to - 1
	}
	return body
}

// ReadPreviousEvents reads towards the oldest event.
func (c *eventCollector) ReadPreviousEvents(_ *simulator.Context, req *types.ReadPreviousEvents) soap.HasFault {
	body := new(methods.ReadPreviousEventsBody)
	if body.Fault_ = checkCount(req.MaxCount); body.Fault_ != nil {
		return body
	}
	body.Res = new(types.ReadPreviousEventsResponse)
	to := len(c.events)
	if c.last >= 0 {
		to = c.last - c.dropped
	}
	if from := max(0, to-int(req.MaxCount)); from < to {
		page := slices.Clone(c.events[from:to])
		slices.Reverse(page)
		body.Res.Returnval = c.dress(page)
		c.last = c.dropped + from
	}
	return body
}

// RewindCollector goes to the oldest event.
func (c *eventCollector) RewindCollector(*simulator.Context, *types.RewindCollector) soap.HasFault {
	c.last = -1
	return &methods.RewindCollectorBody{Res: new(types.RewindCollectorResponse)}
}

// ResetCollector goes to the newest event.
func (c *eventCollector) ResetCollector(*simulator.Context, *types.ResetCollector) soap.HasFault {
	c.last = c.dropped + len(c.events) - 1
	return &methods.ResetCollectorBody{Res: new(types.ResetCollectorResponse)}
}

// SetCollectorPageSize sets the length of latestPage.
func (c *eventCollector) SetCollectorPageSize(_ *simulator.Context, req *types.SetCollectorPageSize) soap.HasFault {
	body := new(methods.SetCollectorPageSizeBody)
	if body.Fault_ = checkCount(req.MaxCount); body.Fault_ == nil {
		c.size = int(req.MaxCount)
		body.Res = new(types.SetCollectorPageSizeResponse)
	}
	return body
}

// DestroyCollector makes room for another collector.
func (c *eventCollector) DestroyCollector(ctx *simulator.Context, req *types.DestroyCollector) soap.HasFault {
	ctx.Session.Remove(ctx, req.This)
	c.journal.drop(req.This)
	return &methods.DestroyCollectorBody{Res: new(types.DestroyCollectorResponse)}
}

func (j *Journal) drop(ref types.ManagedObjectReference) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.collectors, ref)
}

func checkCount(count int32) *soap.Fault {
	if count <= 0 || count > maxQueryEvents {
		return simulator.Fault("", &types.InvalidArgument{InvalidProperty: "maxCount"})
	}
	return nil
}

func collectorOf(body soap.HasFault) (types.ManagedObjectReference, error) {
	if fault := body.Fault(); fault != nil {
		return types.ManagedObjectReference{}, fmt.Errorf("event collector: %s", fault.String)
	}
	return body.(*methods.CreateCollectorForEventsBody).Res.Returnval, nil
}

func isTrue(flag *bool) bool { return flag != nil && *flag }
