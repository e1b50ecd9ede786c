package main

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server serves the lab's vCenter over HTTPS, and can go down and come back at the same address.
type Server struct {
	lab         *Lab
	certificate tls.Certificate
	handler     http.Handler
	address     string // host:port

	mu          sync.Mutex
	running     *http.Server
	connections map[net.Conn]bool
}

// newServer starts to serve at the address; port 0 means any free one.
func newServer(lab *Lab, certificate tls.Certificate, listen string) (*Server, error) {
	s := &Server{lab: lab, certificate: certificate, connections: make(map[net.Conn]bool)}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	s.address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}

	// The simulator's own server would neither count nor restart nor misbehave. It is made, for what it registers under
	// the final address, and then gives that address up.
	service := lab.service
	service.RegisterEndpoints = true
	service.Listen = &url.URL{Host: s.address, User: service.Listen.User}
	service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	service.NewServer().Close()
	lab.hostsShow(certificate, service.Listen.Hostname())
	mux := http.NewServeMux()
	mux.HandleFunc(guestFilePath, lab.serveTransfers)
	mux.HandleFunc(guestFilePath+"/", http.NotFound) // the simulator's own transfers, for containers
	mux.Handle("/", service.ServeMux)
	s.handler = s.counted(lab.compressed(s.faulty(mux)))
	return s, s.Start()
}

// Start listens. It does nothing where the server is running.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: time.Minute,
		ConnState:         s.track,
		ErrorLog:          log.New(quiet{}, "", 0),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS12},
		// A vCenter uses HTTP/1.1 for SOAP clients, and only such a connection can be hijacked to break it.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	s.running = server
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("the server ended: %s", err)
		}
	}()
	return nil
}

// Stop closes the listener and every connection.
func (s *Server) Stop() {
	s.mu.Lock()
	running := s.running
	s.running = nil
	s.mu.Unlock()
	if running != nil {
		_ = running.Close() // what can fail in closing is of no use to anybody
	}
}

func (s *Server) track(connection net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(s.connections, connection)
	} else {
		s.connections[connection] = true
	}
}

// ResetConnections breaks every connection off, with the calls in flight, and serves on.
func (s *Server) ResetConnections() int {
	s.mu.Lock()
	connections := slices.Collect(maps.Keys(s.connections))
	s.mu.Unlock()
	for _, connection := range connections {
		breakOff(connection)
	}
	return len(connections)
}

// Restart goes down for a time. All sessions end; a restarted server knows none.
func (s *Server) Restart(down time.Duration, keepEvents bool) {
	s.Stop()
	s.lab.faults.drop()
	s.lab.terminateSessions(true)
	if !keepEvents {
		s.lab.journal.Purge()
	}
	time.AfterFunc(down, func() {
		if err := s.Start(); err != nil {
			log.Fatalf("cannot listen again at %s: %s", s.address, err)
		}
	})
}

func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := &countingReader{ReadCloser: r.Body}
		answer := &countingWriter{ResponseWriter: w}
		r.Body = body
		defer func() { s.lab.stats.transferred(body.n, answer.n) }()
		next.ServeHTTP(answer, r)
	})
}

type countingReader struct {
	io.ReadCloser
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}

type countingWriter struct {
	http.ResponseWriter
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// quiet drops what a test of refused certificates and broken connections says by the hundred.
type quiet struct{}

func (quiet) Write(p []byte) (int, error) {
	if line := string(p); !strings.Contains(line, "TLS handshake error") {
		log.Print(strings.TrimSpace(line))
	}
	return len(p), nil
}
