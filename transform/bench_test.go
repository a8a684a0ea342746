package transform

import (
	"fmt"
	"testing"
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

// BenchmarkAppend maps each record of the sample.
func BenchmarkAppend(b *testing.B) {
	for _, cfg := range configs[:2] {
		b.Run(fmt.Sprintf("schema=%d", cfg.Schema), func(b *testing.B) {
			cfg.MaxEventBytes = 0
			t := newTransformer(cfg)
			dst, calls := make([]byte, 0, 1<<20), make([]Call, 0, 1000)
			benchmark(b, func(record []byte) {
				t.Append(dst, calls, record, 1)
			})
		})
	}
}
