package consumer

import (
	"cmp"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Input returns a record in the form that the mapping reads. In a redrive, the topic is that of the
// original record.
func Input(r *kgo.Record, redrive bool) transform.Record { return newInputs(redrive).of(r) }

// inputs returns records in the form that the mapping reads, without allocating. Each result is
// valid until the next one. It is not safe for concurrent use.
type inputs struct {
	redrive bool
	record  *kgo.Record
	header  func(name string) (value []byte, ok bool) // returns the last header of record with this name
}

func newInputs(redrive bool) *inputs {
	s := &inputs{redrive: redrive}
	s.header = func(name string) ([]byte, bool) {
		for i := len(s.record.Headers) - 1; i >= 0; i-- {
			if h := &s.record.Headers[i]; h.Key == name {
				return h.Value, true
			}
		}
		return nil, false
	}
	return s
}

// of returns a record in the form that the mapping reads.
func (s *inputs) of(r *kgo.Record) transform.Record {
	s.record = r
	topic := r.Topic
	if s.redrive {
		topic = cmp.Or(header(r, headerTopic), topic)
	}
	return transform.Record{Value: r.Value, Timestamp: r.Timestamp.UnixMilli(), Topic: topic, Header: s.header}
}
