package sink

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sample returns the batch and the destination that belong to the golden IDs.
func sample() (*Batch, string) {
	buffer := NewBuffer(10, 1000)
	buffer.Extend(append(buffer.Bytes(), `{"a":1},{"a":2},`...), 2, 41, time.UnixMilli(0))
	buffer.Extend(append(buffer.Bytes(), `{"a":3},`...), 1, 42, time.UnixMilli(0))
	source := Source{Group: "segment-to-launchdarkly", Topic: "segment", TopicID: [16]byte{1, 2, 3, 15: 16}, Partition: 7}
	b := buffer.Seal(source, 5, 40, 43, true)
	return b, (&Config{Endpoint: ClientSide, ClientSideID: "5f0c1d2e3b4a59687766554f"}).destination()
}

// The expected IDs were computed by another program, testdata/payload_ids.py (XXH64, SHA-1, and RFC
// 9562 in Python). They must never be adapted to the code: if IDs change with an upgrade, the
// events in flight are counted twice.
func TestPayloadIDsAreFrozen(t *testing.T) {
	b, destination := sample()
	left, right := b.whole.split()
	unknown := *b
	unknown.Source.TopicID, unknown.LeaderEpoch = [16]byte{}, -1
	imports := (&Config{Endpoint: MetricImport, ProjectKey: "sample-project", EnvironmentKey: "test"}).destination()
	for want, got := range map[string]string{
		"6f56d133-9e7b-5c26-8cb1-38ad037dbe86": b.payloadID(&b.whole, destination),
		"1e34e33c-b0d3-511e-8e1b-68e44aadd4a9": b.payloadID(&left, destination),
		"77b3bbff-9f92-54ab-a34c-89411d612f28": b.payloadID(&right, destination),
		"8eaf8b5f-b338-5eae-848e-3dca17c6e2c4": unknown.payloadID(&unknown.whole, destination),
		"b91e1d86-c59a-5acc-927e-ace080296597": b.payloadID(&b.whole, imports),
		"04a6d45d-e8f5-5615-b100-f640fe8efdb6": b.payloadID(&left, imports),
		"50f2e175-8239-50fb-bf95-b299c02abb37": b.payloadID(&right, imports),
		"76352941-b580-5a69-bdd5-4d9914afab54": unknown.payloadID(&unknown.whole, imports),
	} {
		if got != want {
			t.Errorf("payload ID %s, want %s", got, want)
		}
	}
	if body := string(b.whole.raw()); body != `[{"a":1},{"a":2},{"a":3}]` {
		t.Errorf("the IDs belong to a different body than %s", body)
	}
}

// The ID depends on the content sent, but not on compression or on the process.
func TestPayloadIDDependsOnlyOnTheContent(t *testing.T) {
	b, destination := sample()
	again, _ := sample()
	again.Oldest, again.offsets = time.Now(), nil
	again.whole = newPart(0, 3, []byte(`[{"a":1},{"a":2},{"a":3}]`), false)
	if one, two := b.payloadID(&b.whole, destination), again.payloadID(&again.whole, destination); one != two {
		t.Errorf("%s and %s for the same range and body", one, two)
	}
}

// input holds everything that a payload ID depends on.
type input struct {
	group, topic, destination, body string
	topicID                         [16]byte
	partition, epoch                int32
	first, next                     int64
	low, high                       int
}

func (in input) id() string {
	b := &Batch{
		Source:      Source{Group: in.group, Topic: in.topic, TopicID: in.topicID, Partition: in.partition},
		LeaderEpoch: in.epoch, First: in.first, Next: in.next,
	}
	p := newPart(in.low, in.high, []byte(in.body), false)
	return b.payloadID(&p, in.destination)
}

var inputs = rapid.Custom(func(t *rapid.T) (in input) {
	text := rapid.StringMatching(`[a-c\x00\x01]{0,4}`) // short, so that concatenations collide
	in.group, in.topic, in.destination, in.body = text.Draw(t, "group"), text.Draw(t, "topic"),
		text.Draw(t, "destination"), text.Draw(t, "body")
	in.topicID[rapid.IntRange(0, 15).Draw(t, "byte")] = rapid.Byte().Draw(t, "value")
	in.partition, in.epoch = rapid.Int32().Draw(t, "partition"), rapid.Int32Min(-1).Draw(t, "epoch")
	in.first, in.next = rapid.Int64().Draw(t, "first"), rapid.Int64().Draw(t, "next")
	in.low, in.high = rapid.Int().Draw(t, "low"), rapid.Int().Draw(t, "high")
	return in
})

func TestPayloadIDChangesWithEachInputAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := inputs.Draw(t, "one"), inputs.Draw(t, "two")
		if (one == two) != (one.id() == two.id()) {
			t.Fatalf("%+v and %+v: %s and %s", one, two, one.id(), two.id())
		}
		if same := one; same.id() != one.id() {
			t.Fatalf("%+v has two IDs", one)
		}
		changes := map[string]func(*input){
			"group":       func(in *input) { in.group = two.group },
			"topic":       func(in *input) { in.topic = two.topic },
			"destination": func(in *input) { in.destination = two.destination },
			"body":        func(in *input) { in.body = two.body },
			"topic ID":    func(in *input) { in.topicID = two.topicID },
			"partition":   func(in *input) { in.partition = two.partition },
			"epoch":       func(in *input) { in.epoch = two.epoch },
			"first":       func(in *input) { in.first = two.first },
			"next":        func(in *input) { in.next = two.next },
			"low":         func(in *input) { in.low = two.low },
			"high":        func(in *input) { in.high = two.high },
			"one byte":    func(in *input) { in.topicID[15]++ },
			"boundary":    func(in *input) { in.group, in.topic = in.group+in.topic, "" },
			"other order": func(in *input) { in.group, in.topic = in.topic, in.group },
			"long":        func(in *input) { in.group = strings.Repeat("g", 300) },
		}
		for name, change := range changes {
			changed := one
			change(&changed)
			if (changed == one) != (changed.id() == one.id()) {
				t.Fatalf("%s: %+v and %+v: %s and %s", name, one, changed, one.id(), changed.id())
			}
		}
	})
}
