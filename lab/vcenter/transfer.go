package main

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// guestFilePath is where guest files are transferred.
	guestFilePath = "/guestFile"

	// transferLife is how long a transfer may begin after it was allowed.
	transferLife = 5 * time.Minute
)

// transfer is one file that may go into or out of a guest, once.
type transfer struct {
	guest      *guest
	path       string // the real one
	upload     bool
	size       int64
	overwrite  bool
	attributes types.BaseGuestFileAttributes
	until      time.Time
}

// transfers holds what has been allowed and not begun.
type transfers struct {
	mu      sync.Mutex
	allowed map[string]transfer // by token
}

// allow keeps a transfer, and gives its token.
func (t *transfers) allow(one transfer) string {
	token := rand.Text()
	one.until = time.Now().Add(transferLife)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.allowed == nil {
		t.allowed = make(map[string]transfer)
	}
	for old, other := range t.allowed {
		if time.Now().After(other.until) {
			delete(t.allowed, old)
		}
	}
	t.allowed[token] = one
	return token
}

// take gives the transfer of a token, which then is used up.
func (t *transfers) take(token string, upload bool) (transfer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one, ok := t.allowed[token]
	if !ok || one.upload != upload || time.Now().After(one.until) {
		return transfer{}, false
	}
	delete(t.allowed, token)
	return one, true
}

// transferURL is where the client sends or fetches the file. A real vCenter names the ESXi host there, or "*" for the
// host that the client is already connected to; the lab does what its flag says.
func (l *Lab) transferURL(one transfer) string {
	host := l.service.Listen.Host
	if l.options.TransferHost != "" {
		host = l.options.TransferHost + ":" + l.service.Listen.Port()
	}
	query := url.Values{"id": {one.guest.ref.Value}, "token": {l.transfers.allow(one)}}
	return "https://" + host + guestFilePath + "?" + query.Encode()
}

// InitiateFileTransferToGuest allows an upload.
func (m *guestFiles) InitiateFileTransferToGuest(ctx *simulator.Context, req *types.InitiateFileTransferToGuest) soap.HasFault {
	body := new(methods.InitiateFileTransferToGuestBody)
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.GuestFilePath, func(v *visit) error {
		path := v.inside(req.GuestFilePath)
		if info, err := os.Stat(path); err == nil {
			if info.IsDir() {
				return fs.ErrExist
			}
			if !req.Overwrite {
				return fs.ErrExist
			}
		}
		if err := expect(filepath.Dir(path), true); err != nil {
			return err
		}
		body.Res = &types.InitiateFileTransferToGuestResponse{Returnval: m.lab.transferURL(transfer{
			guest: v.guest, path: path, upload: true, size: req.FileSize, overwrite: req.Overwrite, attributes: req.FileAttributes,
		})}
		return nil
	})
	return body
}

// InitiateFileTransferFromGuest allows a download.
func (m *guestFiles) InitiateFileTransferFromGuest(ctx *simulator.Context, req *types.InitiateFileTransferFromGuest) soap.HasFault {
	body := new(methods.InitiateFileTransferFromGuestBody)
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.GuestFilePath, func(v *visit) error {
		path := v.inside(req.GuestFilePath)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := expect(path, false); err != nil {
			return err
		}
		body.Res = &types.InitiateFileTransferFromGuestResponse{Returnval: types.FileTransferInformation{
			Attributes: attributes(path, info),
			Size:       info.Size(),
			Url:        m.lab.transferURL(transfer{guest: v.guest, path: path}),
		}}
		return nil
	})
	return body
}

// serveTransfers takes and gives the files.
func (l *Lab) serveTransfers(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut && r.Method != http.MethodGet {
		http.Error(w, "only PUT and GET", http.StatusMethodNotAllowed)
		return
	}
	one, ok := l.transfers.take(r.URL.Query().Get("token"), r.Method == http.MethodPut)
	if !ok {
		http.Error(w, "no such transfer", http.StatusNotFound)
		return
	}
	if r.Method == http.MethodGet {
		l.stats.call(downloadMethod)
		http.ServeFile(w, r, one.path)
		return
	}
	l.stats.call(uploadMethod)
	if err := one.receive(r.Body); err != nil {
		log.Printf("upload to %s: %s", one.guest.ref.Value, err)
		status := http.StatusInternalServerError
		if errors.Is(err, errWrongSize) {
			status = http.StatusBadRequest
		}
		http.Error(w, err.Error(), status)
	}
}

var errWrongSize = errors.New("the file has not the size that was announced")

// receive writes the file, whole or not at all, and never readable by more users than it shall be.
func (t transfer) receive(content io.Reader) error {
	file, err := os.CreateTemp(filepath.Dir(t.path), ".upload-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // gone already when all went well
	n, err := io.Copy(file, io.LimitReader(content, t.size+1))
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil && n != t.size {
		err = fmt.Errorf("%w: %d bytes instead of %d", errWrongSize, n, t.size)
	}
	if err == nil {
		err = os.Chmod(file.Name(), defaultFileMode)
	}
	if err == nil {
		err = setAttributes(file.Name(), t.attributes)
	}
	switch {
	case err != nil:
		return err
	case t.overwrite:
		return os.Rename(file.Name(), t.path)
	default:
		return os.Link(file.Name(), t.path) // fails where the file has come in the meantime
	}
}

// hostsShow has every host report the certificate and the management address of its transfers. They are the vCenter's:
// all share a server.
func (l *Lab) hostsShow(certificate tls.Certificate, address string) {
	shown := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	management := &types.HostVirtualNicManagerInfo{NetConfig: []types.VirtualNicManagerNetConfig{{
		NicType: "management",
		CandidateVnic: []types.HostVirtualNic{{
			Key:    "management.key-vim.host.VirtualNic-vmk0",
			Device: "vmk0",
			Spec:   types.HostVirtualNicSpec{Ip: &types.HostIpConfig{IpAddress: address}},
		}},
		SelectedVnic: []string{"management.key-vim.host.VirtualNic-vmk0"},
	}}}
	for _, entity := range l.registry().All("HostSystem") {
		config := entity.(*simulator.HostSystem).Config
		config.Certificate, config.VirtualNicManagerInfo = shown, management
	}
}
