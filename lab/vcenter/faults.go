package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Rule is a requested fault. A call that it matches fails.
type Rule struct {
	ID            int     `json:"id"`
	Method        string  `json:"method"`         // which calls: a name, a pattern such as Read*, several with |; default all
	Kind          string  `json:"kind"`           // httpNNN, delay, reset, hang, truncate, or a fault class of the API
	Seconds       float64 `json:"seconds"`        // the length of a delay or hang, or what is waited before the rest
	Skip          int     `json:"skip"`           // how many of the calls that match go well first
	Count         int     `json:"count"`          // how many calls; 0: all, until the rule is removed
	Probability   float64 `json:"probability"`    // how many of the calls that match; default 1
	VM            string  `json:"vm"`             // calls about this VM only: its name or managed object ID
	WithoutEntity bool    `json:"without_entity"` // event queries and collectors without an entity only
	After         bool    `json:"after"`          // the call is carried out, then its answer goes wrong
	Hits          int     `json:"hits"`           // how often it has struck

	vm      types.ManagedObjectReference
	class   reflect.Type  // of an API fault
	status  int           // of an HTTP error
	passed  int           // how many calls have gone well because of skip
	removed chan struct{} // closed when the rule is
}

// Faults holds the rules.
type Faults struct {
	mu    sync.Mutex
	rules []*Rule
	next  int
	down  chan struct{} // closed when the server goes down; nil while no call is held
}

// drop releases the calls that are held, without a response: the server that holds them stops.
func (f *Faults) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		close(f.down)
		f.down = nil
	}
}

// goesDown gives a channel that is closed when the server goes down.
func (f *Faults) goesDown() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down == nil {
		f.down = make(chan struct{})
	}
	return f.down
}

// check makes a rule ready, or says what is wrong with it.
func (r *Rule) check(lab *Lab) error {
	if r.Method == "" {
		r.Method = "*"
	}
	if r.Probability == 0 {
		r.Probability = 1
	}
	if r.Seconds < 0 || r.Skip < 0 || r.Count < 0 || r.Probability < 0 || r.Probability > 1 {
		return errors.New("seconds, skip and count are not negative, probability is between 0 and 1")
	}
	for pattern := range strings.SplitSeq(r.Method, "|") {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("method %q: %w", pattern, err)
		}
	}
	if r.VM != "" {
		vm := lab.find(r.VM)
		if vm == nil {
			return fmt.Errorf("virtual machine %q: %w", r.VM, errNotFound)
		}
		r.vm = vm.Self
	}
	if digits, ok := strings.CutPrefix(r.Kind, "http"); ok {
		status, err := strconv.Atoi(digits)
		if err != nil || status < 400 || status > 599 {
			return fmt.Errorf("kind %q: not an HTTP error", r.Kind)
		}
		r.status = status
	} else if !slices.Contains([]string{"delay", "reset", "hang", "truncate"}, r.Kind) {
		class, ok := faultClass(r.Kind)
		if !ok {
			return fmt.Errorf("unknown kind %q; known: httpNNN, delay, reset, hang, truncate, and the fault classes of the API", r.Kind)
		}
		r.class = class
	}
	r.removed = make(chan struct{})
	return nil
}

// hides reports whether the rule hides a VM completely, as a missing role does on a real server.
func (r *Rule) hides() bool {
	return r.class == reflect.TypeFor[types.NoPermission]() && r.VM != "" && r.Method == "*"
}

func (r *Rule) matches(c call) bool {
	if r.hides() {
		return false // not a call that goes wrong: see permission.go
	}
	if !slices.ContainsFunc(strings.Split(r.Method, "|"), func(pattern string) bool {
		ok, _ := path.Match(pattern, c.method) // the pattern has been checked
		return ok
	}) {
		return false
	}
	if r.VM != "" && !c.mentions(r.vm) {
		return false
	}
	if r.WithoutEntity && (c.method != "QueryEvents" && c.method != "CreateCollectorForEvents" || bytes.Contains(c.body, []byte("<entity"))) {
		return false
	}
	return r.Probability >= 1 || rand.Float64() < r.Probability
}

// Add keeps a rule.
func (f *Faults) Add(rule *Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	rule.ID, rule.Hits = f.next, 0
	f.rules = append(f.rules, rule)
}

// Remove deletes the rules with the number, or all for 0, and releases the calls that they hold.
func (f *Faults) Remove(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = slices.DeleteFunc(f.rules, func(rule *Rule) bool {
		hit := id == 0 || rule.ID == id
		if hit {
			close(rule.removed)
		}
		return hit
	})
}

// List gives the rules as they are now.
func (f *Faults) List() []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	rules := []Rule{}
	for _, rule := range f.rules {
		rules = append(rules, *rule)
	}
	return rules
}

// strike gives the first rule that the call matches, and uses it up by one.
func (f *Faults) strike(c call) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rule := range f.rules {
		if rule.Count != 0 && rule.Hits >= rule.Count || !rule.matches(c) {
			continue
		}
		if rule.passed < rule.Skip {
			rule.passed++
			continue
		}
		rule.Hits++
		return rule
	}
	return nil
}

func (f *Faults) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rules) != 0
}

// faulty has the calls that a rule matches go wrong.
func (s *Server) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		faults := s.lab.faults
		if !faults.any() {
			next.ServeHTTP(w, r)
			return
		}
		c, err := callOf(r)
		if err != nil {
			return // the client is gone
		}
		rule := faults.strike(c)
		if rule == nil {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		if rule.After || rule.Kind == "truncate" {
			next.ServeHTTP(answer, r)
		} else if rule.Kind != "delay" {
			s.lab.stats.call(c.method) // the simulator will not see it
		}
		if !rule.pause(r, faults.goesDown()) {
			panic(http.ErrAbortHandler) // the client is gone, or has hung long enough
		}
		switch {
		case rule.status != 0:
			w.Header().Set("Retry-After", "1")
			http.Error(w, http.StatusText(rule.status), rule.status)
		case rule.class != nil:
			if err := writeFault(w, rule.class, c); err != nil {
				log.Printf("fault %s: %s", rule.Kind, err)
			}
		case rule.Kind == "reset":
			reset(w)
		case rule.Kind == "truncate":
			w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
			_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
			panic(http.ErrAbortHandler)
		case rule.After: // a delay of the answer
			for key, values := range answer.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// pause waits as long as the rule says. It is false where the call shall get no answer.
func (r *Rule) pause(request *http.Request, down <-chan struct{}) bool {
	length := time.Duration(r.Seconds * float64(time.Second))
	if r.Kind == "hang" && r.Seconds == 0 {
		length = 24 * time.Hour // until the client gives up or the rule is removed
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-request.Context().Done():
		return false
	case <-down: // which ends no request whose body has yet to be read
		return false
	case <-r.removed:
	case <-timer.C:
	}
	return r.Kind != "hang"
}

// callOf reads the call, and restores the body for the next reader.
func callOf(r *http.Request) (call, error) {
	if strings.HasPrefix(r.URL.Path, guestFilePath) {
		if r.Method == http.MethodPut {
			return call{method: uploadMethod}, nil
		}
		return call{method: downloadMethod}, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return call{}, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return parseCall(body), nil
}

// reset breaks the connection off without a word: the peer sees a reset, not an end.
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	breakOff(connection)
}

func breakOff(connection net.Conn) {
	if secured, ok := connection.(*tls.Conn); ok {
		connection = secured.NetConn() // closing the TLS layer would say goodbye
	}
	if plain, ok := connection.(*net.TCPConn); ok {
		_ = plain.SetLinger(0)
	}
	_ = connection.Close()
}
