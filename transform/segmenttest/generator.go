package segmenttest

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Generator generates records. It is not safe for concurrent use.
type Generator struct {
	seed uint64
	pcg  rand.PCG
	rng  *rand.Rand

	n     int64
	buf   []byte
	calls []transform.Reason
}

// New returns a Generator. The same seed yields the same records.
func New(seed uint64) *Generator {
	g := &Generator{seed: seed}
	g.rng = rand.New(&g.pcg)
	return g
}

// NumberField is the property that contains a call's number.
const NumberField = "seq"

// MaxCalls is the maximum number of calls in a record.
const MaxCalls = 8

// Number returns the number of call i in record n.
func Number(n int64, i int) int64 { return n*MaxCalls + int64(i) }

// CallOf is the inverse of [Number].
func CallOf(number int64) (n int64, i int) { return number / MaxCalls, int(number % MaxCalls) }

// Record generates record n. It returns the value, which is nil for a tombstone, and the expected
// reason of each call, in order. Both slices are valid until the next call to Record.
func (g *Generator) Record(n int64) (value []byte, calls []transform.Reason) {
	g.pcg.Seed(g.seed, uint64(n))
	g.n, g.buf, g.calls = n, g.buf[:0], g.calls[:0]
	switch draw := g.rng.IntN(1000); {
	case draw < 2:
		return nil, append(g.calls, transform.Tombstone)
	case draw < 4:
		g.malformed()
	case draw < 7:
		g.array()
	case draw < 10:
		g.batch()
	case draw < 15:
		g.buf = append(g.buf, 0, 0, 0, 0, 17) // Confluent's wire format, schema 17
		g.call(standalone)
	case draw < 18:
		g.envelope()
	case draw < 19:
		g.buf = append(g.buf, `{"level":"info","msg":"cache refreshed","type":"log","entries":17}`...)
		g.calls = append(g.calls, transform.NotACall)
	default:
		g.call(standalone)
	}
	return g.buf, g.calls
}

// envelope generates a call in one of the envelopes that the program unwraps by default.
func (g *Generator) envelope() {
	g.buf = append(g.buf, g.pick(
		`{"version":"0","detail-type":"Segment","source":"aws.partner/segment.com","detail":`,
		`{"specversion":"1.0","type":"com.example.call","source":"/segment","id":"1","data":`,
		`{"schema":{"type":"struct","optional":false},"payload":`,
	)...)
	g.call(standalone)
	g.buf = append(g.buf, '}')
}

// malformed generates a record with invalid JSON.
func (g *Generator) malformed() {
	g.call(standalone)
	g.calls = append(g.calls[:0], transform.Malformed)
	switch g.rng.IntN(4) {
	case 0: // truncated
		g.buf = g.buf[:1+g.rng.IntN(len(g.buf)-1)]
	case 1: // a byte-order mark
		g.buf = slices.Insert(g.buf, 0, 0xef, 0xbb, 0xbf)
	case 2: // Latin-1
		g.buf = append(g.buf[:len(g.buf)-1], ",\"city\":\"K\xf6ln\"}"...)
	case 3: // a log line
		g.buf = append(g.buf[:0], "WARN flush failed, will retry"...)
	}
}

// array generates a JSON array of calls, as sent by webhooks with batching. A few items are null.
func (g *Generator) array() {
	g.buf = append(g.buf, '[')
	for i := range 2 + g.rng.IntN(MaxCalls-1) {
		if i > 0 {
			g.buf = append(g.buf, ',')
		}
		if g.chance(20) {
			g.buf = append(g.buf, "null"...)
			g.calls = append(g.calls, transform.Malformed)
			continue
		}
		g.call(standalone)
	}
	g.buf = append(g.buf, ']')
}

// batch generates a batch of calls, as sent by Segment's libraries. The batch contains the context
// and, sometimes, integrations.
func (g *Generator) batch() {
	where := inBatch
	g.buf = append(g.buf, `{"batch":[`...)
	if g.chance(100) {
		where = inExcludedBatch
	}
	for i := range 2 + g.rng.IntN(MaxCalls-1) {
		if i > 0 {
			g.buf = append(g.buf, ',')
		}
		g.call(where)
	}
	g.buf = append(g.buf, ']')
	if where == inExcludedBatch {
		g.buf = append(g.buf, `,"integrations":{"all":false,"Mixpanel":true}`...)
	}
	g.context(200)
	g.at("sentAt", 20)
	g.buf = append(g.buf, '}')
}

// size draws the minimum length of a call in bytes. The actual length is larger, on average by half
// the length of the call's last part.
func (g *Generator) size() int { return g.logNormal(735, 2640) }

// logNormal draws from a log-normal distribution with the given median and 99th percentile. The
// result is capped at 32 KB, which is Segment's limit.
func (g *Generator) logNormal(median, p99 float64) int {
	const z99 = 2.326 // 99th percentile of the normal distribution
	return min(int(median*math.Exp(g.rng.NormFloat64()*math.Log(p99/median)/z99)), 32<<10)
}

// chance returns true with a probability of perMille/1000.
func (g *Generator) chance(perMille int) bool { return g.rng.IntN(1000) < perMille }
