//go:build linux

package chaos

import (
	"fmt"
	"slices"
	"testing"
)

func TestStreamIsInTheOrderOfTime(t *testing.T) {
	e := good()
	e.Requests[0].Arrived = e.Commits[1].Time // in the same millisecond
	e.Check()
	var steps []string
	for s := range Stream([]*Evidence{e}) {
		if s.Kind == CommitApplied {
			steps = append(steps, fmt.Sprintf("%s commit %d %v", clock(s.Time), s.Offset, s.Cuts))
		} else {
			steps = append(steps, fmt.Sprintf("%s request %s [%d, %d) accepted %v", clock(s.Time), s.PayloadID, s.First, s.Next, s.Accepted))
		}
	}
	want := []string{
		"00:00:01.000 commit 0 []", "00:00:01.005 commit 0 [3 5]", "00:00:01.005 request b [3, 5) accepted false",
		"00:00:01.009 request a [0, 3) accepted true", "00:00:01.020 commit 3 [5]", "00:00:01.029 request c [3, 5) accepted true",
		"00:00:01.040 commit 5 []",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("got\n%q\nwant\n%q", steps, want)
	}
}
