package segmenttest

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Generator makes records. It holds scratch space: one goroutine at a time.
type Generator struct {
	seed uint64
	pcg  rand.PCG
	rng  *rand.Rand

	n     int64
	buf   []byte
	calls []transform.Reason
}

// New returns a generator. The same seed gives the same records.
func New(seed uint64) *Generator {
	g := &Generator{seed: seed}
	g.rng = rand.New(&g.pcg)
	return g
}

// NumberField is the name, in the properties of a call, of its number.
const NumberField = "seq"

// MaxCalls is the most calls that a record holds.
const MaxCalls = 8

// Number returns the number that the i-th call of record n carries.
func Number(n int64, i int) int64 { return n*MaxCalls + int64(i) }

// CallOf is the reverse of [Number].
func CallOf(number int64) (n int64, i int) { return number / MaxCalls, int(number % MaxCalls) }

// Record makes record n: its value, nil for a tombstone, and for each of its calls, in order, what must become of it.
// Both are valid until the next Record.
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
		g.call(alone)
	default:
		g.call(alone)
	}
	return g.buf, g.calls
}

// malformed makes a record that is no JSON.
func (g *Generator) malformed() {
	g.call(alone)
	g.calls = append(g.calls[:0], transform.Malformed)
	switch g.rng.IntN(4) {
	case 0: // cut off
		g.buf = g.buf[:1+g.rng.IntN(len(g.buf)-1)]
	case 1: // a byte-order mark
		g.buf = slices.Insert(g.buf, 0, 0xef, 0xbb, 0xbf)
	case 2: // Latin-1
		g.buf = append(g.buf[:len(g.buf)-1], ",\"city\":\"K\xf6ln\"}"...)
	case 3: // a line of a log
		g.buf = append(g.buf[:0], "WARN flush failed, will retry"...)
	}
}

// array makes a JSON array of calls, as webhooks with batching write it.
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
		g.call(alone)
	}
	g.buf = append(g.buf, ']')
}

// batch makes a copy of what Segment's libraries send: context and integrations are the batch's.
func (g *Generator) batch() {
	where := inBatch
	g.buf = append(g.buf, `{"batch":[`...)
	if g.chance(100) {
		where = inBatchOff
	}
	for i := range 2 + g.rng.IntN(MaxCalls-1) {
		if i > 0 {
			g.buf = append(g.buf, ',')
		}
		g.call(where)
	}
	g.buf = append(g.buf, ']')
	if where == inBatchOff {
		g.buf = append(g.buf, `,"integrations":{"all":false,"Mixpanel":true}`...)
	}
	g.context(200)
	g.at("sentAt", 20)
	g.buf = append(g.buf, '}')
}

// size draws the length that a call is to have at least: what is made last exceeds it by half its own length.
func (g *Generator) size() int { return g.logNormal(735, 2640) }

// logNormal draws from the distribution with this median and this 99th percentile, cut off at Segment's 32 KB.
func (g *Generator) logNormal(median, p99 float64) int {
	const z99 = 2.326 // of the normal distribution
	return min(int(median*math.Exp(g.rng.NormFloat64()*math.Log(p99/median)/z99)), 32<<10)
}

// chance is true so many times in a thousand.
func (g *Generator) chance(perMille int) bool { return g.rng.IntN(1000) < perMille }
