// Command vcd-client shows how faithful the lab's Cloud Director is: it runs the calls of the real client,
// go-vcloud-director, against it and prints what they return as JSON.
//
// The connection comes in the environment variables of terraform-provider-vcd. The certificate authority comes in
// SSL_CERT_FILE, so the client verifies the server as it would a real one.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/vmware/go-vcloud-director/v3/govcd"
	"github.com/vmware/go-vcloud-director/v3/types/v56"
)

// result is what the calls returned.
type result struct {
	Name    string  `json:"name"`
	Power   string  `json:"power"`
	Before  string  `json:"before"`
	After   string  `json:"after"`
	Seconds float64 `json:"seconds"`
	Enabled bool    `json:"enabled"`
	Record  string  `json:"record"`
}

func main() {
	href := flag.String("vm", "", "`href` of the virtual machine")
	unwanted := flag.String("while", "GC_PENDING", "`status` to block on; empty asks only once")
	timeout := flag.Int("timeout", 30, "`seconds` to block at most")
	flag.Parse()
	found, err := run(*href, *unwanted, *timeout)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(href, unwanted string, timeout int) (*result, error) {
	endpoint, err := url.ParseRequestURI(os.Getenv("VCD_URL") + "/api")
	if err != nil {
		return nil, err
	}
	client := govcd.NewVCDClient(*endpoint, false)
	if err := logIn(client); err != nil {
		return nil, err
	}
	found, err := look(client, href, unwanted, timeout)
	return found, errors.Join(err, client.Disconnect())
}

func logIn(client *govcd.VCDClient) error {
	org := os.Getenv("VCD_ORG")
	if token := os.Getenv("VCD_API_TOKEN"); token != "" {
		return client.SetToken(org, govcd.ApiTokenHeader, token)
	}
	return client.Authenticate(os.Getenv("VCD_USER"), os.Getenv("VCD_PASSWORD"), org)
}

func look(client *govcd.VCDClient, href, unwanted string, timeout int) (*result, error) {
	vm, err := client.Client.GetVMByHref(href)
	if err != nil {
		return nil, err
	}
	found := &result{Name: vm.VM.Name}
	if found.Power, err = vm.GetStatus(); err != nil {
		return nil, err
	}
	section, err := vm.GetGuestCustomizationSection()
	if err != nil {
		return nil, err
	}
	found.Enabled = section.Enabled != nil && *section.Enabled
	if found.Before, err = vm.GetGuestCustomizationStatus(); err != nil {
		return nil, err
	}
	began := time.Now()
	if unwanted != "" {
		if err = vm.BlockWhileGuestCustomizationStatus(unwanted, timeout); err != nil {
			return nil, err
		}
	}
	found.Seconds = time.Since(began).Seconds()
	if found.After, err = vm.GetGuestCustomizationStatus(); err != nil {
		return nil, err
	}
	records, err := client.Client.QueryVmList(types.VmQueryFilterOnlyDeployed)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		if record.HREF == vm.VM.HREF {
			found.Record = record.GcStatus
		}
	}
	return found, nil
}
