package consumer

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestInputHasTheLastHeaderAndTheOriginalTopic(t *testing.T) {
	r := &kgo.Record{
		Topic: "dead", Value: []byte("v"), Timestamp: time.UnixMilli(7),
		Headers: []kgo.RecordHeader{
			{Key: "source", Value: []byte("web")}, {Key: headerTopic, Value: []byte("segment")},
			{Key: "source", Value: []byte("ios")}, {Key: "empty"},
		},
	}
	for redrive, topic := range map[bool]string{false: "dead", true: "segment"} {
		got := Input(r, redrive)
		if got.Topic != topic || string(got.Value) != "v" || got.Timestamp != 7 {
			t.Errorf("redrive %v: %+v", redrive, got)
		}
		for name, want := range map[string]string{"source": "ios", "empty": "", "Source": "absent"} {
			value, ok := got.Header(name)
			if ok != (want != "absent") || ok && string(value) != want {
				t.Errorf("header %s: %q, %v", name, value, ok)
			}
		}
	}
	if topic := Input(&kgo.Record{Topic: "dead"}, true).Topic; topic != "dead" {
		t.Errorf("topic %s of a dead letter without headers", topic)
	}
	in := newInputs(false)
	if n := testing.AllocsPerRun(10, func() { in.of(r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
