package segmenttest

import (
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// placement describes where a call appears in its record.
type placement int

const (
	standalone      placement = iota // a whole record, an array item, or an envelope's content; has all fields
	inBatch                          // in a batch, which contains the context
	inExcludedBatch                  // like inBatch, but the batch's integrations exclude LaunchDarkly
)

// call appends a call and adds its expected reason to g.calls.
func (g *Generator) call(where placement) {
	number := Number(g.n, len(g.calls))
	size := g.size()
	start := g.open()
	draw := g.rng.IntN(100)
	if draw < 60 {
		g.track(number, size, where)
	} else {
		g.calls = append(g.calls, transform.NotTrack)
		g.other(draw, number, size)
	}
	g.id("messageId", "ajs-next-", 32)
	g.times(size)
	if where == standalone {
		g.context(size - (len(g.buf) - start))
	}
	g.close(start)
}

// track appends the fields of a track call, and adds its expected reason to g.calls.
func (g *Generator) track(number int64, size int, where placement) {
	reason := transform.None
	switch draw := g.rng.IntN(1000); {
	case where == inExcludedBatch:
		reason = transform.Integrations
	case draw < 20:
		reason = transform.Integrations
	case draw < 24:
		reason = transform.NoEventName
	case draw < 29:
		reason = transform.NoUserKey
	case draw < 30:
		reason = transform.PropertiesNotObject
	}
	g.calls = append(g.calls, reason)

	g.raw("type", g.pick(`"track"`, `"track"`, `"track"`, `"track"`, `"track"`, `"track"`, `"track"`, `"Track"`))
	switch {
	case reason == transform.NoEventName:
		g.raw("event", g.pick(`""`, `null`, `{"name":"Clicked"}`))
	case g.chance(2):
		g.raw("event", `404`)
	default:
		g.text("event", g.pick(eventNames...))
	}
	g.ids(reason != transform.NoUserKey)
	switch {
	case where == inExcludedBatch:
	case reason == transform.Integrations:
		g.raw("integrations", g.pick(`{"All":false}`, `{"all":false,"Mixpanel":true}`, `{"LaunchDarkly Events":false}`))
	case where == standalone && g.chance(500):
		g.raw("integrations", g.pick(`{}`, `{}`, `{}`, `{"All":true}`, `{"Mixpanel":false}`,
			`{"All":false,"LaunchDarkly Events":true}`, `[]`, `null`))
	}
	if reason == transform.PropertiesNotObject {
		g.raw("properties", `["price",19.99]`)
		return
	}
	g.properties(number, size)
}

// other appends the fields of a non-track call. draw, a number from 60 to 99, selects the call
// type.
func (g *Generator) other(draw int, number int64, size int) {
	switch {
	case draw < 76:
		g.raw("type", `"page"`)
		g.text("name", g.pick(titles...))
		g.properties(number, size)
	case draw < 88:
		g.raw("type", g.pick(`"identify"`, `"identify"`, `"identify"`, `"Identify"`))
		g.traits(size / 4)
	case draw < 96:
		g.raw("type", `"screen"`)
		g.text("name", g.pick(titles...))
		g.properties(number, size)
	default:
		g.raw("type", `"group"`)
		g.id("groupId", "org-", 8)
		g.traits(size / 4)
	}
	g.ids(true)
}

// ids appends userId and anonymousId. If usable is true, at least one of them is a valid user key.
// If usable is false, neither is.
func (g *Generator) ids(usable bool) {
	if !usable {
		g.raw("userId", g.pick(`null`, `""`))
		g.raw("anonymousId", g.pick(`null`, `""`, `{}`))
		return
	}
	user := true
	switch draw := g.rng.IntN(1000); {
	case draw < 230:
		user = false
	case draw < 260:
		g.raw("userId", `null`)
		user = false
	case draw < 267:
		g.raw("userId", `""`)
		user = false
	case draw < 300:
		g.integer("userId", int64(1000+g.rng.IntN(1_000_000)))
	default:
		g.id("userId", "user-", 6)
	}
	if !user || g.chance(750) {
		g.id("anonymousId", "", 32)
	}
}

// properties appends properties that contain the call's number, often a value, and other
// attributes.
func (g *Generator) properties(number int64, size int) {
	g.name("properties")
	start := g.open()
	g.integer(NumberField, number)
	switch draw := g.rng.IntN(100); {
	case draw < 30:
		g.price("value", "")
	case draw < 42:
		g.price("value", `"`)
	case draw < 43:
		g.raw("value", `"n/a"`)
	}
	g.attributes(min(g.logNormal(95, 1900), size*2/3) - (len(g.buf) - start))
	g.close(start)
}

// traits appends traits of about the given length.
func (g *Generator) traits(length int) {
	g.name("traits")
	start := g.open()
	g.attributes(length)
	g.close(start)
}

// times appends the times and the projectId of a call. A call of at most 450 bytes gets at most a
// timestamp.
func (g *Generator) times(size int) {
	switch draw := g.rng.IntN(1000); {
	case draw < 960:
		g.at("timestamp", 0)
	case draw < 970:
		g.raw("timestamp", `"2026-01-02T03:04:05+0700"`)
	case draw < 980:
		g.raw("timestamp", `"2026-01-02 03:04:05"`)
	case draw < 990:
		g.integer("timestamp", firstCall.UnixMilli()+25*g.n)
	}
	if size > 450 {
		g.at("originalTimestamp", 3)
		g.at("sentAt", 20)
		g.at("receivedAt", 90)
		g.text("projectId", "kHwQ9cJmZ4vXr2Ty")
	}
}
