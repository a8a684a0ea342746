package compare

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// paths lists some of the fields that package transform looks up with schema 3.
var paths = []string{
	"type", "event", "userId", "anonymousId", "timestamp", "properties", "properties.value", "integrations.All",
}

// benchmark runs f over a generated sample and reports input bytes per second.
func benchmark(b *testing.B, f func(document []byte)) {
	g := segmenttest.New(1)
	var documents [][]byte
	total := 0
	for n := range int64(1000) {
		document, _ := g.Record(n)
		documents = append(documents, bytes.Clone(document))
		total += len(document)
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	for b.Loop() {
		for _, document := range documents {
			f(document)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(documents)), "ns/document")
}

// BenchmarkScan validates each document and finds its fields. GODEBUG=cpu.avx2=off disables the
// vector instructions.
func BenchmarkScan(b *testing.B) {
	var wanted jsonscan.Paths
	var fields []*jsonscan.Field
	for _, path := range paths {
		fields = append(fields, wanted.Add(strings.Split(path, ".")...))
	}
	s := wanted.Compile().NewScanner()
	found := 0
	benchmark(b, func(document []byte) {
		if _, err := s.Scan(document, nil); err != nil {
			return
		}
		for _, field := range fields {
			found += len(s.Bytes(field))
		}
	})
	if found == 0 {
		b.Error("no fields found")
	}
}

// BenchmarkGJSON validates each document, but not its UTF-8, and looks up the same fields.
func BenchmarkGJSON(b *testing.B) {
	benchmark(b, func(document []byte) {
		if gjson.ValidBytes(document) {
			gjson.GetManyBytes(document, paths...)
		}
	})
}

// BenchmarkGJSONValid validates each document, but not its UTF-8.
func BenchmarkGJSONValid(b *testing.B) {
	benchmark(b, func(document []byte) { gjson.ValidBytes(document) })
}

// BenchmarkJSONText validates each document.
func BenchmarkJSONText(b *testing.B) {
	benchmark(b, func(document []byte) { jsontext.Value(document).IsValid(jsontext.AllowDuplicateNames(true)) })
}
