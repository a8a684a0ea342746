package jsonscan

import (
	"fmt"
	"strings"
	"testing"
)

// TestEachNameLeadsToItsField adds many names that have the same hash, share their first bytes, or
// differ only near the end.
func TestEachNameLeadsToItsField(t *testing.T) {
	var paths Paths
	want := map[string]*Field{}
	for i := range 200 {
		for _, name := range []string{
			fmt.Sprint(i),
			fmt.Sprintf("property%d", i),
			fmt.Sprintf("a long common prefix %d", i),
			strings.Repeat("é", i+1),
		} {
			want[name] = paths.Add(name)
		}
	}
	root := paths.Compile().root
	slots := map[int]bool{0: true}
	for name, field := range want {
		if got := root.child(prefix8([]byte(name)), []byte(name)); got != field {
			t.Errorf("%q: %v", name, got)
		}
		if slots[field.slot] || field.slot >= root.end || field.end != field.slot+1 {
			t.Errorf("%q: slots [%d,%d)", name, field.slot, field.end)
		}
		slots[field.slot] = true
	}
	for _, name := range []string{"", "200", "property", "property200", "a long common prefix", "\x00", "1\x00"} {
		if got := root.child(prefix8([]byte(name)), []byte(name)); got != nil {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestLastValueOfANameOrItsAliasApplies(t *testing.T) {
	var paths Paths
	all := paths.Add("integrations", "All")
	paths.Alias("all", "integrations", "All")
	s := paths.Compile().NewScanner()
	for document, want := range map[string]string{
		`{"integrations":{"All":1,"all":2}}`:                     "2",
		`{"integrations":{"all":1,"All":2}}`:                     "2",
		`{"integrations":{"\u0061ll":1,"ALL":2}}`:                "1",
		`{"integrations":{"all":1},"integrations":{"ALL":2}}`:    "",
		`{"integrations":{"all":1},"integrations":null}`:         "",
		`{"integrations":{"a":{"all":1}},"all":1,"x":{"All":1}}`: "",
	} {
		if _, err := s.Scan([]byte(document), nil); err != nil || string(s.Bytes(all)) != want {
			t.Errorf("%s: %q, %v, want %q", document, s.Bytes(all), err, want)
		}
	}
}

func TestScanWithoutPathsOnlyValidates(t *testing.T) {
	s := new(Paths).Compile().NewScanner()
	for document, valid := range map[string]bool{
		`{"a":{"b":1}}`: true,
		`{}`:            true,
		`{"a":}`:        false,
		`[{"a":1},7]`:   true,
	} {
		if _, err := s.Scan([]byte(document), nil); (err == nil) != valid {
			t.Errorf("%s: %v", document, err)
		}
	}
}
