package main

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/types"
)

// served starts a lab with some VMs and returns a client with a session, and the VMs without the template.
func served(t *testing.T, count int) (*govmomi.Client, []*object.VirtualMachine) {
	t.Helper()
	certificate, err := serverCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	options := Options{
		Listen: "127.0.0.1:0", User: "user", Password: "password", APIVersion: "8.0.3.0", Template: "template",
		VMs: count + 1, Hosts: 1, MaxCollectors: 32, GuestsDir: t.TempDir(), Plan: defaultPlan(),
	}
	lab, err := newLab(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lab.haltGuests)
	server, err := newServer(lab, certificate, options.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	address := &url.URL{Scheme: "https", Host: server.address, Path: "/sdk", User: url.UserPassword("user", "password")}
	client, err := govmomi.NewClient(t.Context(), address, true)
	if err != nil {
		t.Fatal(err)
	}
	var vms []*object.VirtualMachine
	for i := range count {
		vms = append(vms, object.NewVirtualMachine(client.Client, lab.find(fmt.Sprintf("vm-%d", i)).Self))
	}
	return client, vms
}

// The vSphere provider waits for its tasks by this method of govmomi's, and for several tasks at once.
func TestTasksAreWaitedForAtOnceOnTheSessionsCollector(t *testing.T) {
	_, vms := served(t, 24)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for _, vm := range vms {
		group.Go(func() {
			for range 3 {
				for _, begin := range []func(context.Context) (*object.Task, error){vm.PowerOn, vm.PowerOff} {
					task, err := begin(ctx)
					if err == nil {
						err = task.WaitEx(ctx)
					}
					if err != nil {
						t.Errorf("%s: %s", vm.Reference().Value, err)
						return
					}
				}
			}
		})
	}
	group.Wait()
}

func TestIdleStreamsAreBounded(t *testing.T) {
	client, vms := served(t, 1)
	collector := property.DefaultCollector(client.Client)
	filter := new(property.WaitFilter).Add(vms[0].Reference(), "VirtualMachine", []string{"name"})
	if _, err := collector.CreateFilter(t.Context(), filter.CreateFilter); err != nil {
		t.Fatal(err)
	}
	first, err := collector.WaitForUpdates(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var latest *types.UpdateSet
	for range maxIdleStreams {
		if latest, err = collector.WaitForUpdates(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	now := &types.WaitOptions{MaxWaitSeconds: types.NewInt32(0)}
	if _, err := collector.WaitForUpdates(t.Context(), latest.Version, now); err != nil {
		t.Errorf("the newest version: %s", err)
	}
	if _, err := collector.WaitForUpdates(t.Context(), first.Version, now); err == nil {
		t.Error("the version of the stream that gave way was taken")
	}
}

// A client that is slow gets the newest value of a property, not all that it had since the last call.
func TestChangesOfOnePropertyAreOneChange(t *testing.T) {
	vm, other := types.ManagedObjectReference{Value: "vm-1"}, types.ManagedObjectReference{Value: "vm-2"}
	change := func(ref types.ManagedObjectReference, name string, value any) types.ObjectUpdate {
		return types.ObjectUpdate{
			Obj: ref, Kind: types.ObjectUpdateKindModify,
			ChangeSet: []types.PropertyChange{{Op: types.PropertyChangeOpAssign, Name: name, Val: value}},
		}
	}
	left := types.ObjectUpdate{Obj: vm, Kind: types.ObjectUpdateKindLeave}
	got := merged([]types.ObjectUpdate{
		change(vm, "name", "a"), change(other, "name", "b"), change(vm, "name", "c"), change(vm, "power", "on"),
		left, change(vm, "name", "d"),
	})
	first := change(vm, "name", "c")
	first.ChangeSet = append(first.ChangeSet, change(vm, "power", "on").ChangeSet...)
	if want := []types.ObjectUpdate{first, change(other, "name", "b"), left, change(vm, "name", "d")}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
