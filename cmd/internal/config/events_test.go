package config

import (
	"slices"
	"strings"
	"testing"
)

func TestEventListIsReadOnceWithItsHash(t *testing.T) {
	path := writeFile(t, "events", "b\r\n\n a \nb\nc,d\n#e")
	env := append(slices.Clone(required), "S2LD_SEGMENT_EVENTS_ONLY_FILE="+path, "S2LD_SEGMENT_EVENTS_ONLY=z,b,x",
		"S2LD_SEGMENT_EVENTS_EXCEPT=x")
	c, err := Load("", env)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.SelectedEvents(), []string{" a ", "#e", "b", "c,d", "z"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	want := []string{"z", "b", "x", "b", " a ", "b", "c,d", "#e"}
	if got := c.Mapping().Filter.OnlyEvents; !slices.Equal(got, want) {
		t.Errorf("mapping selects %q, want %q", got, want)
	}
	if len(c.EventListHash()) != 64 {
		t.Errorf("hash %q", c.EventListHash())
	}
	for use, want := range map[Use]int{DryRun: 8, Offline: 3} {
		c, err := LoadFor(use, "", env)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.Mapping().Filter.OnlyEvents); got != want {
			t.Errorf("use %v: %d names, want %d", use, got, want)
		}
	}
	if c, err := Load("", required); err != nil || c.SelectedEvents() != nil || c.EventListHash() != "" {
		t.Errorf("without a list: %q, %q, %v", c.SelectedEvents(), c.EventListHash(), err)
	}
}

func TestInvalidEventListIsReported(t *testing.T) {
	for content, want := range map[string]string{
		"\ufeffa\n": ":1 must not begin with a byte-order mark",
		"a\n\xff\n": ":2 must be valid UTF-8",
		"\r\n\n":    " must contain at least one event name",
	} {
		path := writeFile(t, "events", content)
		_, err := Load("", append(required, "S2LD_SEGMENT_EVENTS_ONLY_FILE="+path))
		if err == nil || !strings.Contains(err.Error(), "segment.events.only_file: "+path+want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
	missing := append(slices.Clone(required), "S2LD_SEGMENT_EVENTS_ONLY_FILE=/nowhere/events")
	if _, err := LoadFor(DryRun, "", missing); err == nil {
		t.Error("a dry run ignores a list that cannot be read")
	}
	c, err := LoadFor(Offline, "", missing)
	if err != nil {
		t.Fatalf("offline: %v", err)
	}
	if err := c.LoadEventList(); err == nil || !strings.Contains(err.Error(), "/nowhere/events") {
		t.Errorf("the missing list: %v", err)
	}
}
