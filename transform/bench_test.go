package transform

import (
	"fmt"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
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

// BenchmarkAppend maps each record of the sample, on amd64 with and without vectors.
func BenchmarkAppend(b *testing.B) {
	for _, cfg := range configs[:2] {
		for _, vector = range vectors {
			b.Run(fmt.Sprintf("schema=%d/vector=%v", cfg.Schema, vector), func(b *testing.B) {
				cfg.MaxEventBytes = 0
				t := newTransformer(cfg)
				dst, calls := make([]byte, 0, 1<<20), make([]Call, 0, 1000)
				benchmark(b, func(record []byte) {
					t.Append(dst, calls, record, 1)
				})
			})
		}
	}
}

// BenchmarkGJSON validates each record and looks up what the mapping of schema 3 needs, but makes no event of it.
func BenchmarkGJSON(b *testing.B) {
	paths := []string{"type", "integrations", "event", "userId", "anonymousId", "timestamp", "properties.value", "properties"}
	benchmark(b, func(record []byte) {
		if gjson.ValidBytes(record) {
			gjson.GetManyBytes(record, paths...)
		}
	})
}

// BenchmarkGJSONValid validates each record, but not its UTF-8.
func BenchmarkGJSONValid(b *testing.B) {
	benchmark(b, func(record []byte) { gjson.ValidBytes(record) })
}

// BenchmarkJSONText validates each record.
func BenchmarkJSONText(b *testing.B) {
	benchmark(b, func(record []byte) { jsontext.Value(record).IsValid(jsontext.AllowDuplicateNames(true)) })
}
