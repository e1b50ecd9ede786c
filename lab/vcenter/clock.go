package main

import (
	"net/http"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// serviceCalls answers for the service instance with the lab's clock, which can be set.
type serviceCalls struct {
	*simulator.ServiceInstance
	lab *Lab
}

// CurrentTime returns the time by the clock that stamps the events, too.
func (s *serviceCalls) CurrentTime(*types.CurrentTime) soap.HasFault {
	now := time.Now().Add(s.lab.journal.Ahead())
	return &methods.CurrentTimeBody{Res: &types.CurrentTimeResponse{Returnval: now}}
}

// setClock sets the server's clock so many seconds ahead of the computer's, or behind.
func (c *Control) setClock(r *http.Request) (any, error) {
	var body struct {
		Ahead float64 `json:"ahead"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	c.lab.journal.SetAhead(time.Duration(body.Ahead * float64(time.Second)))
	return nil, nil
}
