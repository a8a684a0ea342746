package ldtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// answer sends a whole answer. An error's body has the form of LaunchDarkly's
// own.
func answer(w http.ResponseWriter, status int, reason string) {
	if status < 400 {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	code := strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_")
	json.NewEncoder(w).Encode(map[string]string{"code": code, "message": reason}) //nolint:errcheck // the client may be gone
}

// do lets the fault happen to the answer.
func (f Fault) do(w http.ResponseWriter, r *http.Request) {
	switch f.Kind {
	case Answer:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		if f.RetryIn != 0 {
			w.Header().Set("Retry-After", time.Now().Add(f.RetryIn).UTC().Format(http.TimeFormat))
		}
		if f.Status >= 300 && f.Status < 400 {
			w.Header().Set("Location", redirectPath)
		}
		answer(w, f.Status, "scripted")
	case Hang:
		wait(r.Context(), f.For)
		panic(http.ErrAbortHandler)
	case ResetUnread, Reset:
		hangUp(w, "")
	case CutOff:
		hangUp(w, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n") // the empty line never comes
	case Truncated:
		hangUp(w, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"",
			f.status(), http.StatusText(f.status())))
	case Garbage:
		hangUp(w, "\x00\x01not HTTP\r\n\r\n")
	}
}

// hangUp sends these bytes and closes the connection; with none, it resets it.
func hangUp(w http.ResponseWriter, last string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok && last == "" {
		tcp.SetLinger(0) //nolint:errcheck // a plain close will do
		return
	}
	conn.Write([]byte(last)) //nolint:errcheck // the client may be gone
}

// wait waits for d (0: for ever); false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	var after <-chan time.Time
	if d > 0 {
		after = time.After(d)
	}
	select {
	case <-after:
		return true
	case <-ctx.Done():
		return false
	}
}
