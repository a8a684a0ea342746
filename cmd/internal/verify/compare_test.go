package verify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// counts are events by key.
type counts = map[string]int64

// compare compares deliveries with what LaunchDarkly counted in the hours 10:00 and 11:00. Events
// outside these hours must not matter.
func compare(t *testing.T, counted counts, selected []string, hours ...consumer.DeliveredHour) (lines []string) {
	t.Helper()
	ten := at(t, "10:00")
	hours = append(hours,
		consumer.DeliveredHour{Hour: ten.Add(-time.Hour), Events: counts{"a": 1e6, "z": 1e6}, Other: 1e6},
		consumer.DeliveredHour{Hour: ten.Add(2 * time.Hour), Events: counts{"a": 1e6}})
	usage := map[string]map[time.Time]int64{"outside": {ten.Add(-time.Hour): 1e6}, "none": {}}
	for key, n := range counted {
		usage[key] = map[time.Time]int64{ten: n / 2, ten.Add(time.Hour): n - n/2, ten.Add(2 * time.Hour): 1e6}
	}
	for _, r := range Compare([]time.Time{ten, ten.Add(time.Hour)}, Deliveries{Hours: hours}, usage, selected) {
		verdict, _, _ := strings.Cut(string(r.Verdict), ":")
		if r.Verdict.Differs() {
			verdict = string(r.Verdict)
		}
		lines = append(lines, fmt.Sprintf("%s %d %d %s", r.Key, r.Delivered, r.Counted, verdict))
	}
	return lines
}

func TestKeysAreComparedByTheirTotals(t *testing.T) {
	ten, eleven := at(t, "10:00"), at(t, "11:00")
	h := func(hour time.Time, events counts, other int64) consumer.DeliveredHour {
		return consumer.DeliveredHour{Hour: hour, Events: events, Other: other}
	}
	for name, c := range map[string]struct {
		delivered []consumer.DeliveredHour
		counted   counts
		selected  []string
		want      []string
	}{
		"two replicas and two hours": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 1}, 0), h(eleven, counts{"a": 20}, 0), h(ten, counts{"a": 300}, 0)},
			counts{"a": 321}, nil, []string{"a 321 321 ok"},
		},
		"within the tolerance": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 2000, "b": 2000, "c": 10, "d": 1}, 0)},
			counts{"a": 1980, "b": 2020, "d": 11}, nil,
			[]string{"b 2000 2020 ok", "a 2000 1980 ok", "c 10 0 ok", "d 1 11 ok"},
		},
		"beyond the tolerance": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 2000, "b": 2000, "c": 11, "d": 5000, "e": 4000}, 0)},
			counts{"a": 1979, "b": 2021, "d": 5000, "e": 1}, nil,
			[]string{
				"e 4000 1 DIFFERS: LaunchDarkly counted fewer", "b 2000 2021 DIFFERS: LaunchDarkly counted more",
				"a 2000 1979 DIFFERS: LaunchDarkly counted fewer", "c 11 0 DIFFERS: LaunchDarkly counted none",
				"d 5000 5000 ok",
			},
		},
		"other senders": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 5}, 0)}, counts{"a": 5, "sdk": 1000}, nil,
			[]string{"a 5 5 ok", "sdk 0 1000 not delivered by this group"},
		},
		"another sender of a selected name": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 5}, 0)}, counts{"a": 5, "b": 11}, []string{"a", "b", "c"},
			[]string{"b 0 11 DIFFERS: LaunchDarkly counted more", "a 5 5 ok", "c 0 0 ok"},
		},
		"a name that a replica counted as other in an hour": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 100}, 50), h(eleven, counts{"b": 7}, 40)},
			counts{"a": 145, "b": 7, "rare": 45}, nil,
			[]string{"a 100 145 unclear", "(other names) 90 45 not compared by key", "b 7 7 ok",
				"rare 0 45 not delivered by this group"},
		},
		"more than the other names explain": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 100}, 1000), h(eleven, counts{"b": 7}, 40)},
			counts{"a": 152, "b": 1000}, nil,
			[]string{"a 100 152 DIFFERS: LaunchDarkly counted more", "(other names) 1040 0 not compared by key",
				"b 7 1000 unclear"},
		},
		"a name that was counted as other before the hour had too many names": {
			[]consumer.DeliveredHour{{Hour: ten, Events: counts{"a": 5000}, Other: 300, Trimmed: true}},
			counts{"a": 5300}, nil,
			[]string{"a 5000 5300 unclear", "(other names) 300 0 not compared by key"},
		},
		"fewer other names": {
			[]consumer.DeliveredHour{h(ten, counts{"a": 100}, 1000)}, counts{"a": 100, "rare": 984}, nil,
			[]string{"(other names) 1000 984 DIFFERS: LaunchDarkly counted fewer", "a 100 100 ok",
				"rare 0 984 not delivered by this group"},
		},
	} {
		got := compare(t, c.counted, c.selected, c.delivered...)
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestHoursBeforeAReplicaCountedAreIncomplete(t *testing.T) {
	hours := Hours(at(t, "08:00"), at(t, "12:00"), at(t, "23:00"))
	replicas := []app.Delivered{
		{Replica: "r-0", Since: at(t, "09:00"), Hours: []consumer.DeliveredHour{{Hour: hours[1], Events: counts{"a": 1}}}},
		{Replica: "r-1", Since: at(t, "10:00:01"), Hours: []consumer.DeliveredHour{{Hour: hours[1], Events: counts{"a": 2}}}},
	}
	d := FromReplicas(replicas, hours, at(t, "23:00"))
	if len(d.Hours) != 2 {
		t.Errorf("%v, want the hours of both replicas", d.Hours)
	}
	report := Report{Replicas: replicas, Requested: hours, Compared: hours[2:], Incomplete: d.Incomplete}
	want := strings.ReplaceAll(`Replica r-0 started at 09:00:00Z
Replica r-1 started at 10:00:01Z
Hours 08:00:00Z to 09:00:00Z not compared: replica r-0 started at 09:00:00Z
Hours 09:00:00Z to 10:00:00Z not compared: replica r-1 started at 10:00:01Z
Hours 10:00:00Z to 11:00:00Z compared although incomplete: replica r-1 started at 10:00:01Z
Hours 11:00:00Z to 12:00:00Z compared
`, " 1", " 2026-01-31T1")
	want = strings.ReplaceAll(want, " 0", " 2026-01-31T0")
	var b strings.Builder
	if err := report.Write(&b); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := strings.Cut(b.String(), "\n\n"); got+"\n" != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	late := FromReplicas(replicas, hours, at(t, "10:59").Add(consumer.DeliveredFor))
	const lost = "replicas keep the last 7 days"
	if late.Incomplete[hours[1]] != lost || late.Incomplete[hours[2]] == lost {
		t.Errorf("after 7 days: %v", late.Incomplete)
	}
}
