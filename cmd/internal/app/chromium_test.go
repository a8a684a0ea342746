package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// chromium is a headless Chromium with one page. It runs commands of the DevTools protocol over a
// pair of pipes, in which a zero byte ends each message.
type chromium struct {
	t         *testing.T
	ctx       context.Context // expires after two minutes
	commands  io.Writer
	responses chan message // closed when Chromium has closed its pipe
	loads     chan string  // loader of each loaded page
	session   string       // session with the page
	sent      int          // number of commands sent

	mu      sync.Mutex // guards console
	console []string   // console calls, exceptions, and browser log entries, as JSON
}

// message is a command, a response, or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// object holds the parameters of a command.
type object = map[string]any

// newChromium starts Chromium and stops it when the test ends. It skips the test unless
// CHROMIUM_TEST is set.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	if os.Getenv("CHROMIUM_TEST") == "" {
		t.Skip("needs Chromium (make test-browser)")
	}
	dir, err := os.MkdirTemp("", "chromium-") //nolint:usetesting // Chromium's children may still write when it exits
	if err != nil {
		t.Fatal(err)
	}
	b := &chromium{t: t, responses: make(chan message), loads: make(chan string, 100)}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	b.ctx = ctx
	cmd := exec.CommandContext(ctx, "chromium", // Debian: apt-get install chromium
		"--headless", "--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-sandbox", // root cannot use the sandbox
		"--user-data-dir="+dir, "--remote-debugging-pipe", "about:blank")
	theirCommands, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	responses, theirResponses, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{theirCommands, theirResponses} // Chromium uses file descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirCommands.Close()
	_ = theirResponses.Close()
	b.commands = commands
	go b.read(responses)
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil)
		if err := cmd.Wait(); err != nil {
			t.Errorf("chromium exited: %v", err)
		}
		_ = commands.Close()
		cancel()
		_ = os.RemoveAll(dir)
	})

	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	b.result(b.call("Target.getTargets", nil), &targets)
	for _, target := range targets.TargetInfos {
		if target.Type == "page" {
			var attached struct{ SessionID string }
			b.result(b.call("Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}), &attached)
			b.session = attached.SessionID
		}
	}
	for _, domain := range []string{"Network", "Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil)
	}
	b.call("Page.setLifecycleEventsEnabled", object{"enabled": true})
	return b
}

// read passes on what Chromium sends, until it closes its pipe.
func (b *chromium) read(pipe io.ReadCloser) {
	defer pipe.Close()
	defer close(b.responses)
	for in := bufio.NewReader(pipe); ; {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			return
		}
		switch m.Method {
		case "": // a response
			b.responses <- m
		case "Page.lifecycleEvent":
			var event struct{ Name, LoaderID string }
			if json.Unmarshal(m.Params, &event) == nil && event.Name == "load" {
				b.loads <- event.LoaderID
			}
		case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
			b.mu.Lock()
			b.console = append(b.console, string(m.Params))
			b.mu.Unlock()
		}
	}
}

// takeConsole returns the console entries since the last call.
func (b *chromium) takeConsole() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	console := b.console
	b.console = nil
	return console
}

// call runs a command and returns its result.
func (b *chromium) call(method string, params object) json.RawMessage {
	b.t.Helper()
	encoded, err := json.Marshal(params)
	if err != nil {
		b.t.Fatal(err)
	}
	if params == nil {
		encoded = nil
	}
	b.sent++
	command, err := json.Marshal(message{ID: b.sent, Session: b.session, Method: method, Params: encoded})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.commands.Write(append(command, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case m, ok := <-b.responses:
		if !ok || m.Error != nil {
			b.t.Fatalf("%s: no result: %s", method, m.Error)
		}
		return m.Result
	case <-b.ctx.Done():
		b.t.Fatalf("%s: %v", method, b.ctx.Err())
	}
	return nil
}

// result decodes the result of a command.
func (b *chromium) result(encoded json.RawMessage, into any) {
	b.t.Helper()
	if err := json.Unmarshal(encoded, into); err != nil {
		b.t.Fatalf("%v: %.200s", err, encoded)
	}
}

// open loads an address with the given screen size and color scheme, light or dark.
func (b *chromium) open(address string, width, height int64, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", object{
		"width": width, "height": height, "screenWidth": width, "screenHeight": height,
		"deviceScaleFactor": 1, "mobile": width < 500,
	})
	b.call("Emulation.setEmulatedMedia", object{
		"features": []object{{"name": "prefers-color-scheme", "value": scheme}},
	})
	var page struct{ LoaderID, ErrorText string }
	b.result(b.call("Page.navigate", object{"url": address}), &page)
	if page.ErrorText != "" {
		b.t.Fatalf("%s: %s", address, page.ErrorText)
	}
	b.loaded(page.LoaderID)
}

// loaded waits until a loader has loaded the page. If loader is "", it waits for any loader.
func (b *chromium) loaded(loader string) {
	b.t.Helper()
	for {
		select {
		case got := <-b.loads:
			if loader == "" || got == loader {
				return
			}
		case <-b.ctx.Done():
			b.t.Fatal("no page loaded: ", b.ctx.Err())
		}
	}
}

// eval returns the value of a JavaScript expression. If the value is a promise, eval awaits it.
func eval[T any](b *chromium, expression string) T {
	b.t.Helper()
	var evaluated struct {
		Result           struct{ Value T }
		ExceptionDetails json.RawMessage
	}
	b.result(b.call("Runtime.evaluate", object{
		"expression": expression, "awaitPromise": true, "returnByValue": true,
	}), &evaluated)
	if evaluated.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, evaluated.ExceptionDetails)
	}
	return evaluated.Result.Value
}

// text returns the visible text of the elements that match a selector, one per line.
func (b *chromium) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText).join('\n')`, selector))
}

// await waits until a condition holds. It checks the condition whenever the page refreshes.
func (b *chromium) await(condition string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf(`new Promise(done => {
		const check = () => { if (%s) done() }
		new MutationObserver(check).observe(document.body, {childList: true})
		check()
	})`, condition))
}

// screenshot writes a PNG of the whole page to the directory in the environment variable
// SCREENSHOTS, if that is set.
func (b *chromium) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var picture struct{ Data []byte }
	b.result(b.call("Page.captureScreenshot", object{"captureBeyondViewport": true}), &picture)
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
