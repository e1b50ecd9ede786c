package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
	vimxml "github.com/vmware/govmomi/vim25/xml"
)

// call is what a request asks for, as far as a fault needs to know it.
type call struct {
	method string
	this   types.ManagedObjectReference
	body   []byte
}

// Transfers of guest files are plain HTTP; they have names here, so that faults can select them.
const (
	uploadMethod   = "Upload"
	downloadMethod = "Download"
)

// parseCall reads the method and its object out of a SOAP request; both are empty in what is none.
func parseCall(body []byte) call {
	c := call{body: body}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	inBody := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return c
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case !inBody:
			inBody = start.Name.Local == "Body"
		case c.method == "":
			c.method = start.Name.Local
		case start.Name.Local == "_this":
			for _, attribute := range start.Attr {
				if attribute.Name.Local == "type" {
					c.this.Type = attribute.Value
				}
			}
			_ = decoder.DecodeElement(&c.this.Value, &start) // a broken request is the simulator's to refuse
			return c
		}
	}
}

// mentions reports whether the call is one of the object or has it among its arguments.
func (c call) mentions(ref types.ManagedObjectReference) bool {
	return c.this == ref || bytes.Contains(c.body, []byte(">"+ref.Value+"<"))
}

// faultClass finds a fault of the API by its name, "NotAuthenticated" or "not_authenticated".
func faultClass(name string) (reflect.Type, bool) {
	var class strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		if word != "" {
			class.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	kind, ok := types.TypeFunc()(class.String())
	return kind, ok && reflect.PointerTo(kind).Implements(reflect.TypeFor[types.BaseMethodFault]())
}

// writeFault answers with a SOAP fault, in the form that a vCenter gives it.
func writeFault(w http.ResponseWriter, class reflect.Type, c call) error {
	fault := reflect.New(class)
	for field, value := range map[string]any{"Object": &c.this, "PrivilegeId": "System.View"} {
		if f := fault.Elem().FieldByName(field); f.IsValid() && f.Type() == reflect.TypeOf(value) {
			f.Set(reflect.ValueOf(value))
		}
	}
	var detail bytes.Buffer
	attribute := func(name, value string) vimxml.Attr {
		return vimxml.Attr{Name: vimxml.Name{Local: name}, Value: value}
	}
	start := vimxml.StartElement{
		Name: vimxml.Name{Local: class.Name() + "Fault"},
		Attr: []vimxml.Attr{attribute("xmlns", "urn:vim25"), attribute("xsi:type", class.Name())},
	}
	if err := vimxml.NewEncoder(&detail).EncodeElement(fault.Interface(), start); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, err := fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>a fault that the lab was asked to return</faultstring><detail>%s</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>`, detail.Bytes())
	return err
}
