package main

import (
	"crypto/subtle"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// sessions keeps the objects of every session that has made a call, because the simulator drops a session without
// freeing what belongs to it.
type sessions struct {
	mu    sync.Mutex
	known map[string]*simulator.Registry // by the session's key
}

func newSessions() *sessions { return &sessions{known: make(map[string]*simulator.Registry)} }

func (s *sessions) remember(session *simulator.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[session.Key] = session.Registry
}

// live gives the keys of the sessions that are logged in.
func (s *sessions) live(ctx *simulator.Context) map[string]bool {
	keys := make(map[string]bool)
	for _, session := range sessionView(ctx).SessionList {
		keys[session.Key] = true
	}
	return keys
}

// sessionView gives the session manager with its list of sessions, which the simulator fills for a session only.
func sessionView(ctx *simulator.Context) *simulator.SessionManager {
	return ctx.Session.Get(ctx.Map.SessionManager().Self).(*simulator.SessionManager)
}

// forget frees the property collectors and filters of sessions that have ended.
func (s *sessions) forget(ctx *simulator.Context, live map[string]bool, freed func(mo.Reference)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, objects := range s.known {
		if live[key] || key == ctx.Session.Key {
			continue
		}
		delete(s.known, key)
		for _, object := range objects.AllReference("") {
			if handler, ok := object.(simulator.RegisterObject); ok {
				ctx.Map.RemoveHandler(handler)
			}
			freed(object)
		}
	}
}

// terminateSessions ends every API session. Calls that wait for updates are left waiting, as the simulator does, or
// are cancelled.
func (l *Lab) terminateSessions(cancel bool) int {
	ctx := l.context()
	live := l.sessions.live(ctx)
	for key := range live {
		ctx.Map.SessionManager().TerminateSession(ctx, &types.TerminateSession{SessionId: []string{key}})
	}
	if cancel {
		l.waits.Range(func(_, w any) bool { w.(*waits).cancel(); return true })
	}
	l.sweep(ctx)
	return len(live)
}

// validLogin checks a user and a password, and counts.
func (l *Lab) validLogin(login *types.Login) bool {
	user := subtle.ConstantTimeCompare([]byte(login.UserName), []byte(l.options.User)) == 1
	password := subtle.ConstantTimeCompare([]byte(login.Password), []byte(l.options.Password)) == 1
	l.stats.login(user && password)
	return user && password
}
