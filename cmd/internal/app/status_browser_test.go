package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// inEachView opens the page at desktop and phone size, in the light and the dark color scheme, and
// calls test for each. It reports layout faults and console entries.
func inEachView(b *chromium, name, address string, test func()) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for screen, size := range map[string][2]int64{"desktop": {1280, 900}, "phone": {390, 844}} {
			view := fmt.Sprintf("%s-%s-%s", name, screen, scheme)
			b.takeConsole()
			b.open(address, size[0], size[1], scheme)
			b.screenshot(view)
			test()
			faults := eval[[]string](b, layoutFaults)
			for _, fault := range append(faults, b.takeConsole()...) {
				b.t.Errorf("%s: %s", view, fault)
			}
			if dark := eval[bool](b, `luminance(backgroundOf(document.body)) < .2`); dark != (scheme == "dark") {
				b.t.Errorf("%s: the background is not %s", view, scheme)
			}
		}
	}
}

// layoutFaults is JavaScript that returns a list of faults: text with a contrast below 4.5 (WCAG
// 2.2, criterion 1.4.3), a page wider than the screen, columns without headers, and skipped heading
// levels.
const layoutFaults = `
function luminance(color) {
	const [r, g, b] = color.match(/[\d.]+/g).map(v => v / 255)
		.map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
	return .2126 * r + .7152 * g + .0722 * b
}
function backgroundOf(element) {
	for (; element; element = element.parentElement) {
		const color = getComputedStyle(element).backgroundColor
		if (color !== 'rgba(0, 0, 0, 0)') return color
	}
	return 'rgb(255, 255, 255)'
}
(() => {
	const faults = []
	for (const element of document.querySelectorAll('body *')) {
		if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !element.offsetParent) continue
		const [low, high] = [luminance(getComputedStyle(element).color), luminance(backgroundOf(element))]
			.sort((a, b) => a - b)
		const contrast = (high + .05) / (low + .05)
		if (contrast < 4.5) faults.push('contrast ' + contrast.toFixed(2) + ': ' + element.outerHTML.slice(0, 200))
	}
	const {scrollWidth} = document.documentElement
	if (scrollWidth > screen.width) faults.push('page wider than the screen: ' + scrollWidth)
	for (const cell of document.querySelectorAll('thead > tr > *'))
		if (cell.scope !== 'col') faults.push('column without a header')
	const levels = [...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])
	if (levels[0] !== 1 || levels.filter(l => l === 1).length !== 1 ||
		levels.some((l, i) => i && l > levels[i - 1] + 1)) faults.push('headings ' + levels)
	return faults
})()`

func TestStatusPageInABrowser(t *testing.T) {
	b := newChromium(t)
	s := newStage(t, 6, "S2LD_DEAD_LETTERS_TOPIC=segment.dead")
	values := make([]string, 0, 500)
	for i := range 490 {
		values = append(values, track(fmt.Sprint("user-", i)))
	}
	for range 5 {
		values = append(values, `{"type":"track","event":"e"}`, `{"type":"identify","userId":"u"}`)
	}
	s.produce(values...)
	s.run()
	s.delivered(490)
	address := "http://" + s.AdminAddress() + "/"

	inEachView(b, "running", address, func() {
		if got := b.text("h1"); got != "running" {
			t.Errorf("state %q", got)
		}
		if rows := strings.Count(b.text("#partitions tbody tr"), "\n") + 1; rows != 6 {
			t.Errorf("%d partition rows, want 6", rows)
		}
		for _, want := range []string{"no_user_key", "202 Accepted", "replica: 6", "490"} {
			b.await(fmt.Sprintf("document.body.innerText.includes(%q)", want))
		}
	})

	s.ld.Down(ldtest.Fault{Status: http.StatusUnauthorized})
	s.produce(track("u"))
	s.log.await(s.ctx, t, "delivery halted: LaunchDarkly rejected")
	inEachView(b, "halted", address, func() {
		got := b.text("header")
		if !strings.HasPrefix(got, "halted\ndelivery halted since ") || !strings.Contains(got, "401 Unauthorized") {
			t.Errorf("%q", got)
		}
	})

	// A refresh keeps the scroll position.
	s.ld.Up()
	eval[any](b, "scrollTo(0, 200)")
	b.await("document.querySelector('h1').innerText === 'running'")
	if y := eval[int](b, "scrollY"); y != 200 {
		t.Errorf("scroll position %d after a refresh, want 200", y)
	}

	// If the program has stopped, the page reports it.
	s.leave()
	eval[any](b, "refresh()")
	if got := b.text("#note"); !strings.HasPrefix(got, "No response") {
		t.Errorf("the page shows %q after the program stopped", got)
	}
	b.screenshot("stopped")
}

// Long names, long errors, and large numbers must not break the layout.
func TestStatusPageWithExtremeValuesInABrowser(t *testing.T) {
	b := newChromium(t)
	p := extremePage(200)
	server := httptest.NewServer(secured(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := statusTemplate.Execute(w, p); err != nil {
			t.Error(err)
		}
	})))
	defer server.Close()
	inEachView(b, "extreme", server.URL, func() {})

	// Without JavaScript, the page reloads itself.
	b.call("Emulation.setScriptExecutionDisabled", object{"value": true})
	b.open(server.URL, 390, 844, "light")
	b.loaded("")
}

// The other tests do not reach these states, or only with many partitions.
func TestStatusPageInEachStateInABrowser(t *testing.T) {
	b := newChromium(t)
	now := time.Now()
	outage := sink.Outage{
		Since: now.Add(-12 * time.Minute), Attempts: 40, Next: now.Add(40 * time.Second), Cause: "503 Service Unavailable",
	}
	unreachable := outage
	unreachable.Unreachable, unreachable.Cause = true, "lookup events.lunchdarkly.com: no such host"
	unreachable.Advice = "Fix the host name in launchdarkly.events_url, or DNS."
	row := consumer.PartitionStatus{Topic: "segment", Watermark: 12_000, Committed: 12_000, End: 12_040, Lag: 40}
	member := consumer.Status{Joined: true, LastCommit: now, Partitions: []consumer.PartitionStatus{row}}
	idle := consumer.Status{Joined: true}

	for _, state := range []struct {
		word     string
		stopping bool
		read     consumer.Status
		sent     sink.Status
		calls    int64
		reason   string
	}{
		{word: "draining", stopping: true, read: member, reason: "shutting down"},
		{word: "needs attention", read: member, sent: sink.Status{Outage: unreachable}, reason: "no response from "},
		{word: "joining", reason: "waiting to join the consumer group"},
		{word: "retrying", read: member, sent: sink.Status{Outage: outage}, reason: "next attempt in "},
		{word: "standing by", read: idle, reason: "no partition is assigned to this replica"},
		{word: "no events", read: member, calls: manyCalls, reason: "the most frequent reason is not_a_call"},
	} {
		c := counts{At: now, Calls: map[call]int64{{"filtered", "not_a_call"}: state.calls}}
		p := newPage(state.stopping, state.read, state.sent, c, 5*time.Second)
		p.Version, p.Host, p.Group, p.Topics = "v1.0.0", "forwarder-0", "segment-to-launchdarkly", []string{"segment"}
		p.Address, p.Uptime = "https://events.launchdarkly.com", time.Hour
		p.Rates = c.ratesSince(counts{At: now.Add(-time.Minute)})
		p.reportNoEvents()
		server := httptest.NewServer(secured(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if err := statusTemplate.Execute(w, p); err != nil {
				t.Error(err)
			}
		})))
		inEachView(b, strings.ReplaceAll(state.word, " ", "-"), server.URL, func() {
			if got := b.text("header"); !strings.HasPrefix(got, state.word+"\n") || !strings.Contains(got, state.reason) {
				t.Errorf("%q, want the state %q with the reason %q", got, state.word, state.reason)
			}
		})
		server.Close()
	}
}

func TestStatusPageOf200PartitionsInABrowser(t *testing.T) {
	b := newChromium(t)
	s := newStage(t, 200)
	s.run()
	inEachView(b, "many", "http://"+s.AdminAddress()+"/", func() {
		b.await(`document.querySelectorAll('#partitions tbody tr').length === 200`)
	})
}
