package transform

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// corpus returns the sample events beside the checkout, one per line; nil if they are not there.
func corpus() (lines [][]byte) {
	files, err := filepath.Glob("../../shared/corpus/*.ndjson")
	must(err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(err)
		lines = append(lines, bytes.Split(bytes.TrimSpace(content), []byte("\n"))...)
	}
	return lines
}

// Without the corpus, generated events alone are compared.
func TestRealEventsMapAsTheReferenceSays(t *testing.T) {
	for _, line := range append(sample(500), corpus()...) {
		requireSame(t, line, 1)
	}
}
