package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

const powerOn = `<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header><x>y</x></soapenv:Header>` +
	`<soapenv:Body><PowerOnVM_Task xmlns="urn:vim25"><_this type="VirtualMachine">vm-7</_this><host type="HostSystem">host-3</host></PowerOnVM_Task></soapenv:Body></soapenv:Envelope>`

func TestCallIsReadOutOfItsEnvelope(t *testing.T) {
	c := parseCall([]byte(powerOn))
	if want := (types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-7"}); c.method != "PowerOnVM_Task" || c.this != want {
		t.Errorf("got %s of %s", c.method, c.this)
	}
	for value, mentioned := range map[string]bool{"vm-7": true, "host-3": true, "vm": false, "host-33": false} {
		if got := c.mentions(types.ManagedObjectReference{Value: value}); got != mentioned {
			t.Errorf("mentions %s: got %v", value, got)
		}
	}
}

func TestCallSurvivesGarbage(t *testing.T) {
	for _, body := range []string{"", "x", "<a", powerOn[:200], "<Envelope><Body/></Envelope>"} {
		if c := parseCall([]byte(body)); c.this.Value != "" {
			t.Errorf("%q: got %v", body, c.this)
		}
	}
}

func TestFaultClassesHaveTwoSpellings(t *testing.T) {
	for _, name := range []string{"NotAuthenticated", "not_authenticated"} {
		if class, ok := faultClass(name); !ok || class.Name() != "NotAuthenticated" {
			t.Errorf("%s: got %v", name, class)
		}
	}
	for _, name := range []string{"", "VirtualMachine", "rain", "ManagedObjectReference"} {
		if class, ok := faultClass(name); ok {
			t.Errorf("%q: got %v", name, class)
		}
	}
}

func TestFaultSaysWhatItIsAbout(t *testing.T) {
	class, _ := faultClass("no_permission")
	answer := httptest.NewRecorder()
	if err := writeFault(answer, class, parseCall([]byte(powerOn))); err != nil {
		t.Fatal(err)
	}
	body := answer.Body.String()
	if answer.Code != http.StatusInternalServerError || !strings.Contains(body, `xsi:type="NoPermission"`) || !strings.Contains(body, ">vm-7<") {
		t.Errorf("%d: %s", answer.Code, body)
	}
}
