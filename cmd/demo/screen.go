package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
)

// screen writes ordinary lines and, below them, live lines that it updates in place. Without a
// terminal, it writes the live lines at most once per liveInterval.
type screen struct {
	w        io.Writer
	size     func() (width, height int)
	terminal bool // whether w is a terminal

	mu      sync.Mutex // guards the fields below
	live    []string
	written time.Time // when the live lines were last written without a terminal
}

// liveInterval is the minimum time between two writes of the live lines without a terminal.
const liveInterval = 10 * time.Second

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, written: time.Now(), size: func() (int, int) { return 120, 24 }}
	switch w := w.(type) {
	case *os.File:
		if fd := int(w.Fd()); term.IsTerminal(fd) {
			s.terminal = true
			s.size = func() (int, int) {
				if width, height, err := term.GetSize(fd); err == nil && width > 0 && height > 0 {
					return width, height
				}
				return 80, 24
			}
		}
	case interface{ size() (width, height int) }: // a terminal of a test
		s.terminal, s.size = true, w.size
	}
	return s
}

// Write writes whole lines above the live lines.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		return s.w.Write(lines)
	}
	_, err := fmt.Fprint(s.w, s.clearSequence(), string(lines), strings.Join(s.live, "\n"))
	return len(lines), err
}

// show replaces the live lines.
func (s *screen) show(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clearLive := s.clearSequence()
	width, height := s.size()
	s.live = nil
	for _, line := range lines[:min(len(lines), height)] {
		s.live = append(s.live, preview.Cut(line, width-1))
	}
	switch {
	case s.terminal:
		fmt.Fprint(s.w, clearLive, strings.Join(s.live, "\n"))
	case len(lines) > 0 && time.Since(s.written) >= liveInterval:
		s.written = time.Now()
		fmt.Fprintln(s.w, strings.Join(lines, "  "))
	}
}

// clearSequence returns the control sequence that removes the live lines. The caller must hold mu.
func (s *screen) clearSequence() string {
	if len(s.live) > 1 {
		return fmt.Sprintf("\r\x1b[%dA\x1b[J", len(s.live)-1)
	}
	return "\r\x1b[J"
}

// bar formats a progress bar.
func bar(done, whole int64, columns int) string {
	filled := columns
	if done < whole {
		filled = int(int64(columns) * done / whole)
	}
	return "[" + strings.Repeat("=", filled) + strings.Repeat(" ", columns-filled) + "]"
}
