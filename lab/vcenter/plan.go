package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// The outcomes that are not a failure class. The failure classes are the names of vSphere's events.
const (
	outcomeSucceeded   = "succeeded"
	outcomeNeverStarts = "never-starts"
	outcomeNeverEnds   = "never-ends"
)

// planPrefix marks the extraConfig keys of a virtual machine that belong to its plan.
const planPrefix = "lab."

// Plan says how the guest of one virtual machine behaves from its next power-on.
type Plan struct {
	StartDelay         time.Duration // from power-on until VMware Tools run, and customization starts
	Duration           time.Duration // from the start of the customization to its end
	Outcome            string        // succeeded, never-starts, never-ends, or a failure's event class
	Reason             string        // the failure's reason
	Message            string        // the failure's text: the event's full message and customizationInfo's errorMsg
	LogLocation        string        // where the log is in the guest
	RebootAfter        time.Duration // from success to the guest's own reboot, and from one reboot to the next
	RebootDuration     time.Duration // how long VMware Tools are away in a reboot
	Reboots            int           // how often the guest reboots after success
	GuestClockOffset   time.Duration // how far the guest's clock is ahead of the server's
	HostName           string        // the host name before any customization
	IPAddress          string        // the address that the guest reports, whatever the specification says
	GuestUser          string        // whom guest operations let in
	GuestPassword      string
	GuestOperationsLag time.Duration // how long guest operations are refused after the guest reports them ready
	ProcessMemory      time.Duration // how long an ended guest process is remembered
	AdaptersConnected  bool          // whether the network adapters are connected after a success
	Heartbeat          string        // green, yellow or red while VMware Tools run
}

// defaultPlan is the default behavior of a virtual machine.
func defaultPlan() Plan {
	return Plan{
		StartDelay:        500 * time.Millisecond,
		Duration:          3 * time.Second,
		GuestUser:         "root",
		ProcessMemory:     5 * time.Minute,
		AdaptersConnected: true,
		Outcome:           outcomeSucceeded,
		RebootAfter:       2 * time.Second,
		RebootDuration:    time.Second,
		LogLocation:       "/var/log/vmware-imc/toolsDeployPkg.log",
		HostName:          "localhost",
		Heartbeat:         string(types.ManagedEntityStatusGreen),
	}
}

// planFields gives every key of a plan the function that reads its value.
var planFields = map[string]func(*Plan, string) error{
	"startDelay":         durationField(func(p *Plan) *time.Duration { return &p.StartDelay }),
	"duration":           durationField(func(p *Plan) *time.Duration { return &p.Duration }),
	"guestClockOffset":   offsetField(func(p *Plan) *time.Duration { return &p.GuestClockOffset }),
	"guestOperationsLag": durationField(func(p *Plan) *time.Duration { return &p.GuestOperationsLag }),
	"processMemory":      durationField(func(p *Plan) *time.Duration { return &p.ProcessMemory }),
	"guestUser":          textField(func(p *Plan) *string { return &p.GuestUser }),
	"guestPassword":      textField(func(p *Plan) *string { return &p.GuestPassword }),
	"adaptersConnected": func(p *Plan, value string) (err error) {
		p.AdaptersConnected, err = strconv.ParseBool(value)
		return err
	},
	"rebootDuration": durationField(func(p *Plan) *time.Duration { return &p.RebootDuration }),
	"reboots":        countField(func(p *Plan) *int { return &p.Reboots }),
	// Who says when the guest reboots wants it to.
	"rebootAfter": func(p *Plan, value string) error {
		p.Reboots = max(p.Reboots, 1)
		return durationField(func(p *Plan) *time.Duration { return &p.RebootAfter })(p, value)
	},
	"outcome":     choiceField(func(p *Plan) *string { return &p.Outcome }, outcomes()...),
	"heartbeat":   choiceField(func(p *Plan) *string { return &p.Heartbeat }, "green", "yellow", "red"),
	"reason":      textField(func(p *Plan) *string { return &p.Reason }),
	"message":     textField(func(p *Plan) *string { return &p.Message }),
	"logLocation": textField(func(p *Plan) *string { return &p.LogLocation }),
	"hostName":    textField(func(p *Plan) *string { return &p.HostName }),
	"ipAddress":   textField(func(p *Plan) *string { return &p.IPAddress }),
}

func outcomes() []string {
	return append([]string{outcomeSucceeded, outcomeNeverStarts, outcomeNeverEnds}, slices.Sorted(maps.Keys(failures))...)
}

// Set reads one value of the plan. The key is without the prefix "lab.".
func (p *Plan) Set(key, value string) error {
	set, ok := planFields[key]
	if !ok {
		return fmt.Errorf("unknown key %q; known: %s", key, strings.Join(slices.Sorted(maps.Keys(planFields)), ", "))
	}
	if err := set(p, value); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Settings are the keys and values of a plan as somebody gave them.
type Settings map[string]string

// Apply sets all of them on the plan.
func (s Settings) Apply(p *Plan) error {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if err := p.Set(key, s[key]); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalJSON takes strings, numbers (seconds, where a length of time is meant) and booleans.
func (s *Settings) UnmarshalJSON(data []byte) error {
	var raw map[string]any
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*s = make(Settings, len(raw))
	for key, value := range raw {
		switch v := value.(type) {
		case string:
			(*s)[key] = v
		case float64:
			(*s)[key] = strconv.FormatFloat(v, 'f', -1, 64)
		case bool:
			(*s)[key] = strconv.FormatBool(v)
		default:
			return fmt.Errorf("%s: neither a string, a number nor a boolean", key)
		}
	}
	return nil
}

// extraConfigSettings picks the plan's keys out of a virtual machine's extraConfig.
func extraConfigSettings(options []types.BaseOptionValue) Settings {
	settings := Settings{}
	for _, option := range options {
		if option == nil {
			continue
		}
		o := option.GetOptionValue()
		if key, ok := strings.CutPrefix(o.Key, planPrefix); ok {
			settings[key] = fmt.Sprint(o.Value)
		}
	}
	return settings
}

// parseLength reads "500ms" or "2m", or a bare number of seconds.
func parseLength(value string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	return time.ParseDuration(value)
}

func offsetField(field func(*Plan) *time.Duration) func(*Plan, string) error {
	return func(p *Plan, value string) error {
		d, err := parseLength(value)
		if err == nil {
			*field(p) = d
		}
		return err
	}
}

func durationField(field func(*Plan) *time.Duration) func(*Plan, string) error {
	set := offsetField(field)
	return func(p *Plan, value string) error {
		if err := set(p, value); err != nil {
			return err
		}
		if *field(p) < 0 {
			return fmt.Errorf("%s is negative", value)
		}
		return nil
	}
}

func countField(field func(*Plan) *int) func(*Plan, string) error {
	return func(p *Plan, value string) error {
		n, err := strconv.Atoi(value)
		if err == nil && n < 0 {
			err = fmt.Errorf("%d is negative", n)
		}
		if err == nil {
			*field(p) = n
		}
		return err
	}
}

func textField(field func(*Plan) *string) func(*Plan, string) error {
	return func(p *Plan, value string) error {
		*field(p) = value
		return nil
	}
}

func choiceField(field func(*Plan) *string, choices ...string) func(*Plan, string) error {
	return func(p *Plan, value string) error {
		if !slices.Contains(choices, value) {
			return fmt.Errorf("%q is none of %s", value, strings.Join(choices, ", "))
		}
		*field(p) = value
		return nil
	}
}
