// Command lab-vcenter simulates a vCenter in which guest customization takes time.
//
// It is govmomi's simulator with guests that behave by plan: they boot, bring VMware Tools up, are customized, and
// succeed or fail, with the events and the properties that a real vCenter shows. It is not a VMware product.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	// The REST endpoints that clients of a vCenter also use: tags, storage policies.
	_ "github.com/vmware/govmomi/pbm/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
)

// passwordVariable names the environment variable with the password of the lab's user.
const passwordVariable = "LAB_VCENTER_PASSWORD"

// guestPasswordVariable names the environment variable with the password of the guests' user.
const guestPasswordVariable = "LAB_GUEST_PASSWORD"

// Options are what the flags say.
type Options struct {
	Listen        string
	ControlListen string
	TLSDir        string
	Ready         string
	User          string
	Password      string
	APIVersion    string
	Template      string
	VMs           int
	Hosts         int
	MaxCollectors int
	KeysAhead     int32
	ESXi          bool
	Autostart     bool
	Customize     bool
	History       bool
	HistoryAge    time.Duration
	GuestsDir     string
	TransferHost  string
	Plan          Plan
}

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	options, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // the flag set has reported why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, options); err != nil {
		log.Fatal(err)
	}
}

func parseOptions(arguments []string) (Options, error) {
	o := Options{User: "administrator@vsphere.local", Plan: defaultPlan()}
	flags := flag.NewFlagSet("lab-vcenter", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "lab-vcenter simulates a vCenter in which guest customization takes time.\n"+
			"The password of %s comes in the environment variable %s, that of the guests' user in %s;\n"+
			"without them random ones are made, which stand in the ready file only.\n\n", o.User, passwordVariable, guestPasswordVariable)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:0", "`address` of the vCenter (HTTPS)")
	flags.StringVar(&o.ControlListen, "control", "127.0.0.1:0", "loopback `address` of the control endpoint (HTTP)")
	flags.StringVar(&o.TLSDir, "tls-dir", "", "`folder` for the certificates, made or reused (required)")
	flags.StringVar(&o.Ready, "ready", "", "`file` that is written when the lab serves: addresses and credentials, as JSON")
	flags.StringVar(&o.APIVersion, "api-version", "8.0.3.0", "API `version` to report; before 7.0.2 there is no guest.customizationInfo")
	flags.StringVar(&o.Template, "template", "linux-template", "`name` of the first VM, which stays powered off")
	flags.IntVar(&o.VMs, "vms", 1, "`number` of VMs at the start, the template among them; the others are vm-0, vm-1, ..")
	flags.IntVar(&o.Hosts, "hosts", 1, "`number` of hosts in the cluster")
	flags.IntVar(&o.MaxCollectors, "max-collectors", 32, "`number` of event collectors that may exist at once")
	firstKey := flags.Int("first-event-key", 1, "`key` of the first event; after 2147483647 comes -2147483648")
	flags.BoolVar(&o.ESXi, "esxi", false, "say that this is an ESXi host")
	flags.BoolVar(&o.Autostart, "autostart", false, "power the VMs on, all but the template")
	flags.BoolVar(&o.Customize, "customize", false, "have a customization wait for the VMs' power-on, all but the template's")
	history := flags.String("history", "", `"customized": the VMs, all but the template, run and were customized some time ago`)
	flags.DurationVar(&o.HistoryAge, "history-age", 2*time.Hour, "how `long` ago that was")
	flags.DurationVar(&o.Plan.StartDelay, "start-delay", o.Plan.StartDelay, "`time` from power-on to VMware Tools and the start of a customization")
	flags.DurationVar(&o.Plan.Duration, "duration", o.Plan.Duration, "`time` that a customization takes")
	flags.StringVar(&o.Plan.GuestUser, "guest-user", o.Plan.GuestUser, "`name` of the user that guest operations let in")
	flags.StringVar(&o.GuestsDir, "guests-dir", "", "`folder` for the guests' files, one folder per VM; default: a temporary one")
	flags.StringVar(&o.TransferHost, "transfer-host", "", "`host` in the URLs of guest file transfers, for example *; default: the vCenter's own")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	o.KeysAhead = int32(*firstKey - 1)
	err := func() error {
		switch {
		case flags.NArg() != 0:
			return fmt.Errorf("unexpected argument %q", flags.Arg(0))
		case o.TLSDir == "":
			return errors.New("-tls-dir is required")
		case o.VMs < 1 || o.Hosts < 1 || o.MaxCollectors < 1:
			return errors.New("-vms, -hosts and -max-collectors are at least 1")
		case *history != "" && *history != "customized":
			return fmt.Errorf("-history is %q, it can only be \"customized\"", *history)
		case o.Plan.StartDelay < 0 || o.Plan.Duration < 0 || o.HistoryAge < 0:
			return errors.New("a length of time is negative")
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintln(flags.Output(), err)
		return o, err
	}
	o.History = *history != ""
	o.Password = os.Getenv(passwordVariable)
	if o.Password == "" {
		o.Password = rand.Text()
	}
	o.Plan.GuestPassword = os.Getenv(guestPasswordVariable)
	if o.Plan.GuestPassword == "" {
		o.Plan.GuestPassword = rand.Text()
	}
	return o, nil
}

// run serves until the context ends.
func run(ctx context.Context, options Options) error {
	certificate, err := serverCertificate(options.TLSDir)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	// The simulator keeps the files of its datastores in temporary folders: all of them go with this one.
	temporary, remove, err := temporaryFolder()
	if err != nil {
		return err
	}
	defer remove()
	if err := os.Setenv("TMPDIR", temporary); err != nil {
		return err
	}

	if options.GuestsDir == "" {
		options.GuestsDir = filepath.Join(temporary, "guests")
	}

	lab, err := newLab(options)
	if err != nil {
		return err
	}
	defer lab.haltGuests()
	server, err := newServer(lab, certificate, options.Listen)
	if err != nil {
		return err
	}
	defer server.Stop()
	control := &Control{lab: lab, server: server, token: rand.Text()}
	controlURL, controlServer, err := serveControl(control, options.ControlListen)
	if err != nil {
		return err
	}
	defer controlServer.Close()
	lab.stats.Reset()

	if options.Ready != "" {
		authority, err := filepath.Abs(filepath.Join(options.TLSDir, caFile))
		if err != nil {
			return err
		}
		ready, err := json.MarshalIndent(map[string]any{
			"server":     server.address,
			"user":       options.User,
			"password":   options.Password,
			"ca_file":    authority,
			"thumbprint": thumbprint(certificate),
			"control":    controlURL,
			"token":      control.token,
			"pid":        os.Getpid(),

			"guest_user":     options.Plan.GuestUser,
			"guest_password": options.Plan.GuestPassword,
		}, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFileAtomically(options.Ready, append(ready, '\n')); err != nil {
			return err
		}
	}
	log.Printf("the lab's vCenter serves at https://%s with %d VMs", server.address, options.VMs)
	<-ctx.Done()
	return nil
}
