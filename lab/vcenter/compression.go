package main

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// compressors are used again, because a new one allocates a megabyte.
var compressors = sync.Pool{New: func() any {
	writer, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid one
	return writer
}}

// compressed sends SOAP responses as gzip to a client that accepts it, as vCenter does from 8.0.3 on.
func (l *Lab) compressed(next http.Handler) http.Handler {
	if versionBefore(l.options.APIVersion, 8, 0, 3) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		answer := &compressingWriter{ResponseWriter: w}
		defer answer.close()
		next.ServeHTTP(answer, r)
	})
}

// compressingWriter compresses the body. A response without one, or on a connection that was broken off, stays as it is.
type compressingWriter struct {
	http.ResponseWriter
	body *gzip.Writer
	sent bool
}

func (c *compressingWriter) WriteHeader(status int) {
	if !c.sent {
		c.sent = true
		c.Header().Del("Content-Length")
		c.Header().Set("Content-Encoding", "gzip")
		c.body = compressors.Get().(*gzip.Writer)
		c.body.Reset(c.ResponseWriter)
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *compressingWriter) Write(p []byte) (int, error) {
	if !c.sent {
		c.WriteHeader(http.StatusOK)
	}
	return c.body.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *compressingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *compressingWriter) close() {
	if c.body != nil {
		_ = c.body.Close() // the client has gone
		compressors.Put(c.body)
	}
}
