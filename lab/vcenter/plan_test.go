package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

func TestPlanReadsItsKeys(t *testing.T) {
	var settings Settings
	body := `{"startDelay": "250ms", "duration": 2, "outcome": "CustomizationFailed", "guestClockOffset": "-3h", "reboots": 2, "adaptersConnected": false}`
	if err := json.Unmarshal([]byte(body), &settings); err != nil {
		t.Fatal(err)
	}
	plan := defaultPlan()
	if err := settings.Apply(&plan); err != nil {
		t.Fatal(err)
	}
	want := defaultPlan()
	want.StartDelay, want.Duration = 250*time.Millisecond, 2*time.Second
	want.Outcome, want.GuestClockOffset, want.Reboots, want.AdaptersConnected = "CustomizationFailed", -3*time.Hour, 2, false
	if plan != want {
		t.Errorf("got %+v, want %+v", plan, want)
	}
}

func TestPlanRefusesNonsense(t *testing.T) {
	for key, value := range map[string]string{
		"outcome": "fine", "duration": "-1s", "startDelay": "soon", "reboots": "-1", "heartbeat": "blue", "durations": "1s", "adaptersConnected": "maybe",
	} {
		plan := defaultPlan()
		if err := plan.Set(key, value); err == nil {
			t.Errorf("%s=%s was taken", key, value)
		}
	}
}

func TestPlanOfExtraConfigTakesOnlyItsOwnKeys(t *testing.T) {
	settings := extraConfigSettings([]types.BaseOptionValue{
		&types.OptionValue{Key: "lab.outcome", Value: "never-ends"},
		&types.OptionValue{Key: "guestinfo.x", Value: "y"},
		nil,
	})
	if len(settings) != 1 || settings["outcome"] != "never-ends" {
		t.Errorf("got %v", settings)
	}
}

func TestVersionsAreComparedByNumbers(t *testing.T) {
	for version, before := range map[string]bool{
		"6.5": true, "6.7.3": true, "7.0": true, "7.0.1.0": true, "7.0.2.0": false, "7.0.10.0": false, "8.0.3.0": false,
	} {
		if got := versionBefore(version, 7, 0, 2); got != before {
			t.Errorf("%s before 7.0.2: got %v", version, got)
		}
	}
}
