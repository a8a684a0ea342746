package verify

import (
	"testing"
	"time"
)

// at returns a time on the day of the tests, such as 09:30.
func at(t *testing.T, clock string) time.Time {
	t.Helper()
	parsed, err := time.Parse("2006-01-02 15:04:05", "2026-01-31 "+clock+":00"[:8-len(clock)])
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestOnlySettledWholeHoursAreCompared(t *testing.T) {
	for _, c := range []struct {
		from, to, now string
		first, last   string // starts of hours; empty if there is no hour
	}{
		{"10:00", "12:00", "23:00", "10:00", "11:00"},
		{"10:00:01", "12:59:59", "23:00", "11:00", "11:00"},
		{"10:30", "11:30", "23:00", "", ""},
		{"10:00", "20:00", "14:00", "10:00", "11:00"},
		{"10:00", "20:00", "13:59:59", "10:00", "10:00"},
		{"12:00", "20:00", "14:59", "", ""},
		{"12:00", "10:00", "23:00", "", ""},
	} {
		hours := Hours(at(t, c.from), at(t, c.to), at(t, c.now))
		if c.first == "" {
			if len(hours) > 0 {
				t.Errorf("%+v: %v, want none", c, hours)
			}
			continue
		}
		if len(hours) == 0 || !hours[0].Equal(at(t, c.first)) || !hours[len(hours)-1].Equal(at(t, c.last)) {
			t.Errorf("%+v: %v", c, hours)
		}
		for i := range len(hours) - 1 {
			if hours[i+1].Sub(hours[i]) != time.Hour {
				t.Errorf("%+v: %v, want all hours", c, hours)
			}
		}
	}
	zone := time.FixedZone("half an hour off", 1800)
	if hours := Hours(at(t, "10:00").In(zone), at(t, "11:00"), at(t, "23:00")); len(hours) != 1 ||
		hours[0] != at(t, "10:00") {
		t.Errorf("from a time in another zone: %v, want hours in UTC", hours)
	}
}
