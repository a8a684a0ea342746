package segmenttest

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const sample = 20_000

// mapping returns the mapping of the default configuration.
func mapping(t *testing.T, schema int) *transform.Mapping {
	t.Helper()
	m, err := transform.Compile(transform.Config{
		Unwrap:            []string{transform.UnwrapAuto},
		Schema:            schema,
		Contexts:          map[string][]string{"unauthenticatedUser": {"anonymousId"}, "user": {"userId", "anonymousId"}},
		MetricValue:       []string{"properties.value"},
		IntegrationNames:  []string{"LaunchDarkly Events"},
		HonorIntegrations: true,
		MaxEventBytes:     1<<20 - len("[]"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTruthMatchesTransform(t *testing.T) {
	for _, schema := range []int{3, 4} {
		t.Run(fmt.Sprint("schema ", schema), func(t *testing.T) {
			g, tr := New(1), mapping(t, schema).NewTransformer()
			seen := map[transform.Reason]int{}
			for n := range int64(sample) {
				value, truth := g.Record(n)
				events, calls := tr.Append(nil, nil, value, 1)
				if len(calls) != len(truth) {
					t.Fatalf("record %d has %d calls, generated %d: %.500q", n, len(calls), len(truth), value)
				}
				start := 0
				for i, call := range calls {
					if call.Reason != truth[i] {
						t.Fatalf("record %d, call %d: %q (%s), generated %q: %.500q",
							n, i, call.Reason, call.Detail, truth[i], value)
					}
					if call.Reason == transform.None {
						checkNumber(t, events[start:call.End-1], Number(n, i))
					}
					start = call.End
					seen[truth[i]]++
				}
			}
			t.Logf("%v", seen)
			for reason := range transform.Reasons {
				// The generator produces no empty arrays. With the default configuration, no call
				// is too large or lacks a time. Only a redrive selects calls.
				never := reason == transform.NoCalls || reason == transform.NoTimestamp ||
					reason == transform.TooLarge || reason == transform.NotSelected
				if (seen[reason] == 0) != never {
					t.Errorf("%d calls with reason %q", seen[reason], reason)
				}
			}
		})
	}
}

func checkNumber(t *testing.T, event []byte, want int64) {
	t.Helper()
	var e struct{ Data map[string]any }
	decoder := json.NewDecoder(bytes.NewReader(event))
	decoder.UseNumber()
	if err := decoder.Decode(&e); err != nil {
		t.Fatalf("%v: %s", err, event)
	}
	if got := fmt.Sprint(e.Data[NumberField]); got != fmt.Sprint(want) {
		t.Fatalf("event with number %s, want %d: %s", got, want, event)
	}
}

func TestNumberIdentifiesTheCall(t *testing.T) {
	for _, n := range []int64{0, 1, 1 << 40} {
		for i := range MaxCalls {
			if gotN, gotI := CallOf(Number(n, i)); gotN != n || gotI != i {
				t.Errorf("CallOf(Number(%d, %d)) = %d, %d", n, i, gotN, gotI)
			}
		}
	}
}

func TestRecordDependsOnlyOnSeedAndNumber(t *testing.T) {
	forward, backward, other := New(7), New(7), New(8)
	var values [200][]byte
	for n := range values {
		value, _ := forward.Record(int64(n))
		values[n] = slices.Clone(value)
	}
	same := 0
	for n := len(values) - 1; n >= 0; n-- {
		if value, _ := backward.Record(int64(n)); !bytes.Equal(value, values[n]) {
			t.Fatalf("record %d differs when generated again", n)
		}
		if value, _ := other.Record(int64(n)); bytes.Equal(value, values[n]) {
			same++
		}
	}
	if same > 5 { // tombstones
		t.Errorf("%d of %d records are the same with another seed", same, len(values))
	}
}

func TestMixAndSizes(t *testing.T) {
	g := New(1)
	var sizes []int
	calls, track := 0, 0
	for n := range int64(sample) {
		value, truth := g.Record(n)
		sizes = append(sizes, len(value))
		for _, reason := range truth {
			if reason == transform.Tombstone || reason == transform.Malformed {
				continue
			}
			calls++
			if reason != transform.NotTrack {
				track++
			}
		}
	}
	slices.Sort(sizes)
	within(t, "share of track calls", float64(track)/float64(calls), 0.58, 0.62)
	within(t, "median size", float64(sizes[sample/2]), 760, 840)
	within(t, "99th percentile of sizes", float64(sizes[sample*99/100]), 2700, 3100)
}

func TestRecordsCompressLikePublicSamples(t *testing.T) {
	g := New(1)
	var raw bytes.Buffer
	for n := int64(0); raw.Len() < 64<<10; n++ {
		value, _ := g.Record(n)
		raw.Write(value)
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write(raw.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, "compression", float64(raw.Len())/float64(packed.Len()), 4.5, 8)
}

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	t.Logf("%s: %.3g", what, got)
	if got < low || got > high {
		t.Errorf("%s: %v, want %v to %v", what, got, low, high)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	g := New(1)
	for n := range int64(sample) {
		g.Record(n)
	}
	n := int64(0)
	if allocs := testing.AllocsPerRun(sample-1, func() { g.Record(n); n++ }); allocs != 0 {
		t.Errorf("%v allocations per record", allocs)
	}
}

func BenchmarkRecord(b *testing.B) {
	g := New(1)
	b.ReportAllocs()
	bytes := 0
	for n := int64(0); b.Loop(); n++ {
		value, _ := g.Record(n)
		bytes += len(value)
	}
	b.SetBytes(int64(bytes / b.N))
}
