package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestResponsesAreCompressedFromVersion803On(t *testing.T) {
	text := strings.Repeat("<obj type=\"VirtualMachine\">vm-1</obj>", 1000)
	plain := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	for version, expected := range map[string]string{"8.0.2.0": "", "8.0.3.0": "gzip"} {
		handler := (&Lab{options: Options{APIVersion: version}}).compressed(plain)
		request := httptest.NewRequest(http.MethodPost, "/sdk", strings.NewReader("<request/>"))
		request.Header.Set("Accept-Encoding", "gzip, deflate")
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		body := io.Reader(response.Body)
		if got := response.Header().Get("Content-Encoding"); got != expected {
			t.Fatalf("%s: got the encoding %q", version, got)
		}
		if expected == "gzip" {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != text {
			t.Errorf("%s: got %d bytes, %v", version, len(got), err)
		}
	}
}
