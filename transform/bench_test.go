package transform

import (
	"testing"
	"time"
)

// benchmark runs f over a generated sample and reports input bytes per second.
func benchmark(b *testing.B, f func(record []byte)) {
	records := sample(1000)
	total := 0
	for _, record := range records {
		total += len(record)
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	for b.Loop() {
		for _, record := range records {
			f(record)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/record")
}

// BenchmarkAppend maps each record of the sample. The last mapping has every filter, and the filters
// remove no call.
func BenchmarkAppend(b *testing.B) {
	everyFilter := schema3
	everyFilter.Filter = Filter{
		Consent: Consent{Categories: []string{"Advertising"}, SendMissing: true},
		Conditions: []Condition{
			{Field: "projectId", NotIn: []string{"p1", "p2"}},
			{Field: "context.library.name", In: []string{"analytics.js", "analytics-node"}},
			{Header: "source", In: []string{"web"}},
			{Topic: "segment"},
		},
		OnlyEvents:   []string{"Order Completed", "Signed Up", "Product Viewed"},
		ExceptEvents: []string{"Test"},
		Require:      []string{"userId"},
		MaxAge:       time.Hour,
		NotBefore:    time.UnixMilli(1),
	}
	for _, mapping := range []struct {
		name string
		cfg  Config
	}{{"schema=3", schema3}, {"schema=4", schema4}, {"filters", everyFilter}} {
		b.Run(mapping.name, func(b *testing.B) {
			mapping.cfg.MaxEventBytes = 0
			t := newTransformer(mapping.cfg)
			dst, calls := make([]byte, 0, 1<<20), make([]Call, 0, 1000)
			source := recordAt(nil, 1)
			benchmark(b, func(record []byte) {
				source.Value = record
				t.Append(dst, calls, source)
			})
		})
	}
}
