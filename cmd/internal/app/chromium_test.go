package app

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// chromium is a headless Chromium with one page, steered by the DevTools protocol
// over pipes: https://chromedevtools.github.io/devtools-protocol.
type chromium struct {
	t        *testing.T
	commands *os.File
	messages *bufio.Reader
	session  string
	id       int
	loaded   bool
	console  []string // errors, warnings, and what the browser objects to
}

// newChromium starts a Chromium. Tests that need one run only with CHROMIUM_TEST set.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	if os.Getenv("CHROMIUM_TEST") == "" {
		t.Skip("run it by: make test-browser")
	}
	program, err := exec.LookPath("chromium") // Debian: apt-get install chromium
	if err != nil {
		t.Fatal(err)
	}
	commandsEnd, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	messages, messagesEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe")
	cmd.ExtraFiles = []*os.File{commandsEnd, messagesEnd} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	commandsEnd.Close()
	messagesEnd.Close()
	b := &chromium{t: t, commands: commands, messages: bufio.NewReader(messages)}
	if err := messages.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		commands.Close() // which ends it
		defer time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("chromium ended: %v", err)
		}
		messages.Close()
	})

	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", object{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

type object map[string]any

// call sends a command and waits for its result, which it puts into result.
func (b *chromium) call(method string, params object, result any) {
	b.t.Helper()
	b.id++
	command := object{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.commands.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		m := b.next()
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

type message struct {
	ID            int
	Method        string
	Params        json.RawMessage
	Result, Error json.RawMessage
}

// next reads a message and notes what the page reports.
func (b *chromium) next() (m message) {
	b.t.Helper()
	text, err := b.messages.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		b.t.Fatalf("%v: %s", err, text)
	}
	switch m.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
		b.console = append(b.console, string(m.Params))
	}
	return m
}

// open loads an address on a screen of a size, in dark or light.
func (b *chromium) open(address string, width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", object{
		"width": width, "height": height, "screenWidth": width, "screenHeight": height,
		"deviceScaleFactor": 1, "mobile": width < 500,
	}, nil)
	b.call("Emulation.setEmulatedMedia",
		object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.call("Page.navigate", object{"url": address}, nil)
	b.load()
}

// load waits until a page is loaded.
func (b *chromium) load() {
	b.t.Helper()
	for !b.loaded {
		b.next()
	}
	b.loaded = false
}

// eval evaluates an expression, a promise too, and puts its value into result.
func (b *chromium) eval(expression string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", object{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v: %s", expression, err, answer.Result.Value)
		}
	}
}

// text returns the visible text of what a selector finds, each on a line.
func (b *chromium) text(selector string) (text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText).join('\n')`, selector), &text)
	return text
}

// await waits until a condition holds, which it looks at whenever the page refreshes.
func (b *chromium) await(condition string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`new Promise(done => {
		const look = () => { if (%s) done() }
		new MutationObserver(look).observe(document.body, {childList: true})
		look()
	})`, condition), nil)
}

// shoot writes the whole page as a picture into the directory that SCREENSHOTS
// names, if it is set.
func (b *chromium) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", object{"captureBeyondViewport": true}, &picture)
	png, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
