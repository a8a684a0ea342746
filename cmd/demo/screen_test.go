package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestBar(t *testing.T) {
	for done, want := range map[int64]string{
		0: "[    ]", 1: "[    ]", 50: "[==  ]", 99: "[=== ]", 100: "[====]", 120: "[====]",
	} {
		if got := bar(done, 100, 4); got != want {
			t.Errorf("bar(%d) = %q, want %q", done, got, want)
		}
	}
}

func TestScreenKeepsWrittenLinesAboveLiveLines(t *testing.T) {
	var out strings.Builder
	s := newScreen(&out)
	s.terminal = true
	s.show("one", "two")
	fmt.Fprintln(s, "log")
	s.show("three")
	s.show()
	const want = "\r\x1b[J" + "one\ntwo" + "\r\x1b[1A\x1b[J" + "log\none\ntwo" + "\r\x1b[1A\x1b[J" + "three" + "\r\x1b[J"
	if out.String() != want {
		t.Errorf("wrote %q\nwant  %q", out.String(), want)
	}
}

func TestScreenWithoutATerminalWritesPlainLines(t *testing.T) {
	var out strings.Builder
	s := newScreen(&out)
	s.show("too early")
	s.written = s.written.Add(-liveInterval)
	s.show("later", "and more")
	s.show()
	fmt.Fprintln(s, "log")
	if got, want := out.String(), "later  and more\nlog\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}
