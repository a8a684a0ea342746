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

// writeResponse sends a complete response. Error bodies have the same format as LaunchDarkly's.
func writeResponse(w http.ResponseWriter, status int, reason string) {
	if status < 400 {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	code := strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_")
	json.NewEncoder(w).Encode(map[string]string{"code": code, "message": reason}) //nolint:errcheck // disconnected
}

// apply sends the fault's response or breaks the connection.
func (f Fault) apply(w http.ResponseWriter, r *http.Request) {
	switch f.Kind {
	case Respond:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		if f.RetryIn != 0 {
			w.Header().Set("Retry-After", time.Now().Add(f.RetryIn).UTC().Format(http.TimeFormat))
		}
		if f.Status >= 300 && f.Status < 400 {
			w.Header().Set("Location", redirectPath)
		}
		writeResponse(w, f.Status, "scripted")
	case Hang:
		sleep(r.Context(), f.For)
		panic(http.ErrAbortHandler)
	case ResetUnread, Reset:
		hangUp(w, "")
	case CutOff:
		hangUp(w, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n") // headers without the final empty line
	case Truncated:
		hangUp(w, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"",
			f.status(), http.StatusText(f.status())))
	case Garbage:
		hangUp(w, "\x00\x01not HTTP\r\n\r\n")
	}
}

// hangUp sends the argument last and closes the connection. If last is empty, hangUp resets the
// connection instead.
func hangUp(w http.ResponseWriter, last string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 connections cannot be hijacked; reset the stream
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok && last == "" {
		tcp.SetLinger(0) //nolint:errcheck // on failure, a plain close is sufficient
		return
	}
	conn.Write([]byte(last)) //nolint:errcheck // the client may have disconnected
}

// sleep waits for d, or indefinitely if d is 0. It returns true after d, or false as soon as ctx is
// done.
func sleep(ctx context.Context, d time.Duration) bool {
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
