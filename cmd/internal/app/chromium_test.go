package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is a headless Chromium with one page.
type chromium struct {
	t   *testing.T
	ctx context.Context // context of the page; expires after two minutes

	mu      sync.Mutex // guards console
	console []string   // console calls, exceptions, and browser log entries, as JSON
}

// newChromium starts Chromium and stops it when the test ends. It skips the test unless
// CHROMIUM_TEST is set.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	if os.Getenv("CHROMIUM_TEST") == "" {
		t.Skip("needs Chromium (make test-browser)")
	}
	b := &chromium{t: t}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	ctx, cancelBrowser := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), // Debian: apt-get install chromium
		chromedp.NoSandbox,            // root cannot use the sandbox
		chromedp.DisableGPU,
	)...)
	b.ctx, _ = chromedp.NewContext(ctx, chromedp.WithListener(b.record))
	t.Cleanup(func() {
		if err := chromedp.Cancel(b.ctx); err != nil {
			t.Errorf("chromium exited: %v", err)
		}
		cancelBrowser()
		cancel()
	})
	send(b, network.Enable, network.EnableParams{})
	return b
}

// record adds console calls, exceptions, and browser log entries to console. chromedp calls it for
// each event.
func (b *chromium) record(event any) {
	switch event.(type) {
	case *log.EventEntryAdded, *runtime.EventConsoleAPICalled, *runtime.EventExceptionThrown:
		text, err := json.Marshal(event)
		if err != nil {
			text = []byte(err.Error())
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.console = append(b.console, string(text))
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

// send runs a command of the DevTools protocol.
func send[P, R any](b *chromium, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// open loads an address with the given screen size and color scheme, light or dark.
func (b *chromium) open(address string, width, height int64, scheme string) {
	b.t.Helper()
	send(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, ScreenWidth: width, ScreenHeight: height, DeviceScaleFactor: 1, Mobile: width < 500,
	})
	send(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	b.load(chromedp.Navigate(address))
}

// load runs actions that load a page, and waits until the page is loaded. Without actions, it waits
// until the page reloads itself.
func (b *chromium) load(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of a JavaScript expression. If the value is a promise, eval awaits it.
func eval[T any](b *chromium, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// text returns the visible text of the elements that match a selector, one per line.
func (b *chromium) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText).join('\n')`, selector))
}

// await waits until a condition holds. It checks the condition whenever the page refreshes.
// chromedp.Poll would need 'unsafe-eval', which the page's policy forbids.
func (b *chromium) await(condition string) {
	b.t.Helper()
	eval[chromedp.Void](b, fmt.Sprintf(`new Promise(done => {
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
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100)) // quality 100 selects PNG
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
