package preview

import (
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -60: "-60", -1000: "-1,000", -123456: "-123,456",
	} {
		if got := Number(n); got != want {
			t.Errorf("Number(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for columns, want := range map[int]string{9: "Menü öff", 8: "Menü öff", 7: "Menü ö…", 1: "…", 0: "…"} {
		if got := Cut("Menü öff", columns); got != want {
			t.Errorf("cut to %d: %q, want %q", columns, got, want)
		}
	}
}

func TestOutlineAbbreviatesNestedValues(t *testing.T) {
	const object = `{"type":"track","context":{"page":{"url":"x"}},` +
		`"properties":{"n":1,"list":[{"a":1}],"o":{"b":2}},"contextKeys":{"user":"u"},"integrations":{}}`
	got := strings.Join(outline([]byte(object), 30), "\n")
	const want = `{
  "type": "track",
  "context": { … },
  "properties": {
    "n": 1,
    "list": [ … ],
    "o": { … }
  },
  "contextKeys": {
    "user": "u"
  },
  "integrations": {}
}`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestDeepCallIsNotIndented(t *testing.T) {
	const levels = 9000
	deep := []byte(strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels))
	if got := SideBySide("call", deep, "event", deep, 120); len(got) > 1000 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestSideBySideFitsTheTerminal(t *testing.T) {
	long := strings.Repeat("x", 100)
	call := []byte(`{"type":"track","event":"` + long + `","` + long[:48] + `":{"nested":1}}`)
	for _, width := range []int{60, 80, 120} {
		text := SideBySide(strings.Repeat("title ", width/6), call, "LaunchDarkly event as it would be sent", call, width)
		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > width {
				t.Errorf("width %d: %d columns: %s", width, n, line)
			}
		}
		if columns := strings.Contains(text, "│"); columns != (width >= 80) {
			t.Errorf("width %d: side by side: %v", width, columns)
		}
	}
}
