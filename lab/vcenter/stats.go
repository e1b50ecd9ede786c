package main

import (
	"maps"
	"sync"
)

// Stats counts what clients do.
type Stats struct {
	mu       sync.Mutex
	calls    map[string]int64
	bytesIn  int64
	bytesOut int64
	loginsOK int64
	refused  int64
}

func newStats() *Stats { return &Stats{calls: make(map[string]int64)} }

func (s *Stats) call(method string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
}

func (s *Stats) login(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		s.loginsOK++
	} else {
		s.refused++
	}
}

func (s *Stats) transferred(in, out int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytesIn += in
	s.bytesOut += out
}

// Reset sets all counts to zero.
func (s *Stats) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = make(map[string]int64)
	s.bytesIn, s.bytesOut, s.loginsOK, s.refused = 0, 0, 0, 0
}

// Fields gives the counts as the control endpoint shows them.
func (s *Stats) Fields() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	var total int64
	for _, n := range s.calls {
		total += n
	}
	return map[string]any{
		"calls":     maps.Clone(s.calls),
		"total":     total,
		"bytes_in":  s.bytesIn,
		"bytes_out": s.bytesOut,
		"logins":    map[string]int64{"ok": s.loginsOK, "failed": s.refused},
	}
}
