package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"unicode/utf8"
)

// eventList is the content of segment.events.only_file, which is read once.
type eventList struct {
	names []string
	hash  string // of the file; "" if there is none
}

// loadEvents reads segment.events.only_file.
func (l *loader) loadEvents() {
	if rule := l.c.readEventList(); rule != "" {
		l.add(l.fields[onlyFile], rule, "")
	}
}

const onlyFile = "segment.events.only_file"

// LoadEventList reads segment.events.only_file, which [Offline] leaves unread. The error has type
// [Problems].
func (c *Config) LoadEventList() error {
	if rule := c.readEventList(); rule != "" {
		return Problems{{Key: onlyFile, Rule: rule, Origin: c.origins[onlyFile]}}
	}
	return nil
}

// readEventList reads segment.events.only_file, if it is set. It returns the rule that the file
// breaks, or "". The file must be a list of event names, one per line.
func (c *Config) readEventList() (broken string) {
	path := c.Segment.Events.OnlyFile
	if path == "" {
		return ""
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return unreadable(path, err)
	}
	var list eventList
	for i, line := range bytes.Split(content, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case bytes.HasPrefix(line, []byte("\ufeff")):
			return fmt.Sprintf("%s:%d must not begin with a byte-order mark", path, i+1)
		case !utf8.Valid(line):
			return fmt.Sprintf("%s:%d must be valid UTF-8", path, i+1)
		case len(line) > 0:
			list.names = append(list.names, string(line))
		}
	}
	if len(list.names) == 0 {
		return path + " must contain at least one event name"
	}
	hash := sha256.Sum256(content)
	list.hash = hex.EncodeToString(hash[:])
	c.events = list
	return ""
}

// SelectedEvents returns the names in segment.events.only and only_file, sorted and without those in
// except. It returns nil if neither only nor only_file is set.
func (c *Config) SelectedEvents() []string {
	names := slices.Concat(c.Segment.Events.Only, c.events.names)
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(c.Segment.Events.Except, name) })
}

// EventListHash returns the SHA-256 hash of segment.events.only_file in hexadecimal, or "" if it is
// not set. Replicas with the same hash select the same events.
func (c *Config) EventListHash() string { return c.events.hash }
