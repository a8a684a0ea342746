package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Three sources share a topic, and each has its own group and LaunchDarkly environment. The sources
// differ in a field, a header, and another field.
func TestGroupsThatShareATopicReceiveTheirOwnEvents(t *testing.T) {
	const each = 200
	first := newStage(t, 3)
	stages := map[string]*stage{}
	for source, only := range map[string]string{
		"web":     `[{"field":"projectId","in":["web","other"]},{"topic":"segment"}]`,
		"ios":     `[{"header":"source","in":["ios"]}]`,
		"staging": `[{"header":"source","not_in":["ios"]},{"field":"projectId","not_in":["web"]}]`,
	} {
		s := newStage(t, 3, "S2LD_KAFKA_GROUP="+source, "S2LD_SEGMENT_ONLY="+only)
		s.brokers = first.cluster.ListenAddrs()[0]
		stages[source] = s
		s.run()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(first.cluster.ListenAddrs()...), kgo.DefaultProduceTopic(stageTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range each {
		for _, source := range []string{"web", "ios", "staging"} {
			value := fmt.Appendf(nil, `[{"type":"track","event":"e","userId":"%s-%d","projectId":%q},{"type":"page"}]`,
				source, i, source)
			r := &kgo.Record{Key: fmt.Append(nil, i), Value: value}
			if source == "ios" {
				r.Headers = []kgo.RecordHeader{{Key: "source", Value: []byte("web")}, {Key: "source", Value: []byte("ios")}}
			}
			client.Produce(first.ctx, r, nil)
		}
	}
	if err := client.Flush(first.ctx); err != nil {
		t.Fatal(err)
	}
	for source, s := range stages {
		s.delivered(each)
		s.leave()
		seen := map[string]bool{}
		for _, event := range s.ld.Events() {
			_, user, _ := strings.Cut(string(event), `"userKey":"`)
			user, _, _ = strings.Cut(user, `"`)
			seen[user] = true
			if !strings.HasPrefix(user, source+"-") {
				t.Errorf("%s received an event of %s", source, user)
			}
		}
		if len(seen) != each || s.ld.Report().Processed != each {
			t.Errorf("%s received %d users and %d events, want %d", source, len(seen), s.ld.Report().Processed, each)
		}
		read, _ := s.Status()
		counts := map[string]int64{}
		for reason := range transform.Reasons {
			if n := read.Calls[reason]; n > 0 {
				counts[reason.String()] = n
			}
		}
		want := map[string]int64{"": each, "not_selected": 2 * each, "not_track": 3 * each}
		if fmt.Sprint(counts) != fmt.Sprint(want) {
			t.Errorf("%s: calls %v, want %v", source, counts, want)
		}
	}
}

func TestHashOfTheEventListIsShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(path, []byte("e\r\n\nOrder Completed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hash = "89e475ed2be24793fc047e534865e10ec6b00d760bae2ee904aab57735f67851"
	s := newStage(t, 1, "S2LD_SEGMENT_EVENTS_ONLY_FILE="+path)
	s.run()
	s.produce(track("u"), strings.ReplaceAll(track("v"), `"event":"e"`, `"event":"f"`))
	s.delivered(1)
	s.log.await(s.ctx, t, "event list read")
	for where, text := range map[string]string{
		"log": s.log.text(), "page": s.get("/"), "metrics": s.get("/metrics"),
	} {
		if !strings.Contains(text, hash) {
			t.Errorf("%s: no hash", where)
		}
	}
	if metrics := s.get("/metrics"); !strings.Contains(metrics, `reason="event"} 1`) {
		t.Error("the other event is not counted as filtered")
	}
}
