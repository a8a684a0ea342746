package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
)

// bar shows the progress of a run in the last line of a terminal. Log entries written through the
// bar appear above it. A bar is safe for concurrent use.
type bar struct {
	columns func() int // width of the terminal

	mu       sync.Mutex // guards the fields below
	terminal io.Writer
	shown    bool
}

// eraseLine moves the cursor to the start of the line and clears the line.
const eraseLine = "\r\x1b[K"

// Write implements [io.Writer] for the log.
func (b *bar) Write(entry []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	return b.terminal.Write(entry)
}

// show replaces the bar.
func (b *bar) show(p app.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	fmt.Fprint(b.terminal, p.Bar(b.columns()-1)) // some terminals wrap a full line
	b.shown = true
}

// remove removes the bar.
func (b *bar) remove() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
}

// erase implements remove. The caller holds mu.
func (b *bar) erase() {
	if b.shown {
		fmt.Fprint(b.terminal, eraseLine)
	}
	b.shown = false
}
