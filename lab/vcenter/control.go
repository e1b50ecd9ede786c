package main

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Control is the endpoint by which tests steer the lab: plain HTTP on loopback, with a token.
type Control struct {
	lab    *Lab
	server *Server
	token  string
}

// errNotFound marks what the caller named and the lab does not have.
var errNotFound = errors.New("not found")

// serveControl serves the control endpoint and gives its URL.
func serveControl(c *Control, listen string) (string, *http.Server, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return "", nil, err
	}
	if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		_ = listener.Close()
		return "", nil, fmt.Errorf("the control endpoint is for loopback only, not for %s", ip)
	}
	server := &http.Server{Handler: c.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with the program
	return "http://" + listener.Addr().String(), server, nil
}

func (c *Control) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"PUT /vms/{name}":            c.setPlan,
		"DELETE /vms/{name}":         c.forgetPlan,
		"POST /vms/{name}/power":     c.power,
		"POST /vms/{name}/end":       c.endCustomization,
		"POST /vms/{name}/customize": c.customize,
		"POST /vms/{name}/destroy":   c.destroy,
		"POST /events":               c.postEvent,
		"POST /events/purge":         c.purgeEvents,
		"GET /stats":                 c.showStats,
		"POST /stats/reset":          c.resetStats,
		"POST /sessions/terminate":   c.terminateSessions,
		"POST /connections/reset":    c.resetConnections,
		"POST /clock":                c.setClock,
		"POST /restart":              c.restart,
		"GET /faults":                c.listFaults,
		"POST /faults":               c.addFault,
		"DELETE /faults":             c.removeFaults,
		"DELETE /faults/{id}":        c.removeFaults,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { answer(w, r, handle) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+c.token)) != 1 {
			http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, r *http.Request, handle func(*http.Request) (any, error)) {
	result, err := handle(r)
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, errNotFound) {
			status = http.StatusNotFound
		}
		http.Error(w, err.Error(), status)
		return
	}
	if result == nil {
		result = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(result) // the caller is gone if this fails
}

// read decodes a JSON body; an empty one leaves the target as it is, an unknown key is refused.
func read(r *http.Request, target any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("the body is not what was expected: %w", err)
	}
	return nil
}

// postEvent posts an event of any class about a VM, as the server would.
func (c *Control) postEvent(r *http.Request) (any, error) {
	var body struct {
		VM          string     `json:"vm"`
		Type        string     `json:"type"`
		Reason      string     `json:"reason"`
		Message     string     `json:"message"`
		LogLocation string     `json:"logLocation"`
		CreatedTime *time.Time `json:"createdTime"`
		Count       int        `json:"count"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	vm := c.lab.find(body.VM)
	if vm == nil {
		return nil, fmt.Errorf("virtual machine %q: %w", body.VM, errNotFound)
	}
	kind, known := types.TypeFunc()(body.Type)
	if !known || !reflect.PointerTo(kind).Implements(reflect.TypeFor[types.BaseEvent]()) {
		return nil, fmt.Errorf("%q is no class of events", body.Type)
	}
	ctx := c.lab.context()
	var key int32
	for range max(1, body.Count) {
		value := reflect.New(kind)
		for field, text := range map[string]string{"Reason": body.Reason, "LogLocation": body.LogLocation} {
			if f := value.Elem().FieldByName(field); f.IsValid() && f.Kind() == reflect.String {
				f.SetString(text)
			}
		}
		event := value.Interface().(types.BaseEvent)
		ctx.WithLock(vm, func() { *event.GetEvent() = vmEvent(ctx, vm).Event })
		c.lab.journal.Post(ctx, event, func(e *types.Event) {
			key = e.Key
			if body.Message != "" {
				e.FullFormattedMessage = body.Message
			}
			if body.CreatedTime != nil {
				e.CreatedTime = *body.CreatedTime
			}
		})
	}
	return map[string]any{"key": key}, nil
}

func (c *Control) purgeEvents(*http.Request) (any, error) {
	c.lab.journal.Purge()
	return nil, nil
}

func (c *Control) showStats(*http.Request) (any, error) {
	ctx := c.lab.context()
	c.lab.sweep(ctx)
	fields := c.lab.stats.Fields()
	fields["sessions"] = len(c.lab.sessions.live(ctx))
	c.lab.journal.mu.Lock()
	defer c.lab.journal.mu.Unlock()
	fields["collectors"] = len(c.lab.journal.collectors)
	fields["events"] = len(c.lab.journal.entries)
	return fields, nil
}

func (c *Control) resetStats(*http.Request) (any, error) {
	c.lab.stats.Reset()
	return nil, nil
}

// terminateSessions takes {"cancel_waits": true} to end the calls that wait for updates, too.
func (c *Control) terminateSessions(r *http.Request) (any, error) {
	var body struct {
		CancelWaits bool `json:"cancel_waits"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	return map[string]any{"terminated": c.lab.terminateSessions(body.CancelWaits)}, nil
}

// restart takes {"down": seconds, "events": "kept" or "lost"}, and answers when the server is down.
func (c *Control) restart(r *http.Request) (any, error) {
	body := struct {
		Down   float64 `json:"down"`
		Events string  `json:"events"`
	}{Down: 1, Events: "kept"}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Down < 0 || body.Events != "kept" && body.Events != "lost" {
		return nil, errors.New(`down is a number of seconds, events is "kept" or "lost"`)
	}
	c.server.Restart(time.Duration(body.Down*float64(time.Second)), body.Events == "kept")
	return nil, nil
}

func (c *Control) resetConnections(*http.Request) (any, error) {
	return map[string]any{"reset": c.server.ResetConnections()}, nil
}

func (c *Control) listFaults(*http.Request) (any, error) {
	return c.lab.faults.List(), nil
}

// addFault takes a rule; see Rule.
func (c *Control) addFault(r *http.Request) (any, error) {
	rule := new(Rule)
	if err := read(r, rule); err != nil {
		return nil, err
	}
	if err := rule.check(c.lab); err != nil {
		return nil, err
	}
	c.lab.faults.Add(rule)
	return map[string]any{"id": rule.ID}, nil
}

func (c *Control) removeFaults(r *http.Request) (any, error) {
	id := 0
	if text := r.PathValue("id"); text != "" {
		var err error
		if id, err = strconv.Atoi(text); err != nil || id < 1 {
			return nil, fmt.Errorf("fault %q: %w", text, errNotFound)
		}
	}
	c.lab.faults.Remove(id)
	return nil, nil
}
