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

func TestCorpusMapsAsTheReferenceSays(t *testing.T) {
	lines := corpus()
	if lines == nil {
		t.Skip("no corpus beside the checkout")
	}
	for _, line := range lines {
		requireSame(t, line, 1)
	}
}
