package kafkatest

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// NewEmbedded starts a broker in this process, on loopback by default. The caller must close it.
//
// Unlike plain kfake, it returns the correct end of a leader epoch after the leader has moved; see
// epochs. Use kfake.DataDir for large amounts of data, to keep records out of memory.
func NewEmbedded(opts ...kfake.Opt) (*kfake.Cluster, error) {
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	e := &epochs{cluster: cluster, last: map[partition]appended{}}
	cluster.ControlKey(int16(kmsg.Produce), e.watch)
	cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), e.correct)
	return cluster, nil
}

// epochs corrects requests for the end of a leader epoch. A real broker returns the start of the
// next epoch, or the end of the log if no records were appended since. kfake learns about an epoch
// only when a record is appended in it. If the leader has moved and no record was appended since,
// it returns -1. For a log emptied by retention, it returns 0. Clients interpret -1 as divergence
// and 0 as truncation, and rewind. epochs changes such requests to ask for the current epoch, whose
// end is the end of the log. It leaves all other requests to kfake.
//
// epochs does not know about records appended by transactions, or by an earlier process with the
// same kfake.DataDir. It may therefore hide a real truncation, but never reports a false one.
type epochs struct {
	cluster *kfake.Cluster

	mu   sync.Mutex             // guards the field below
	last map[partition]appended // last epoch in which records were produced
}

type partition struct {
	topic  [16]byte
	number int32
}

type appended struct {
	epoch int32
	from  int64 // end of the log before the first record of the epoch
}

// watch records the epoch of produced records before kfake appends them.
//
//nolint:revive // ControlKey requires this order of results
func (e *epochs) watch(r kmsg.Request) (kmsg.Response, error, bool) {
	e.cluster.KeepControl()
	for _, t := range r.(*kmsg.ProduceRequest).Topics {
		topic := e.cluster.TopicInfo(t.Topic)
		if t.Topic == "" {
			topic = e.cluster.TopicIDInfo(t.TopicID)
		}
		if topic == nil {
			continue
		}
		for _, p := range t.Partitions {
			if info := e.cluster.PartitionInfo(topic.Topic, p.Partition); info != nil {
				e.mu.Lock()
				if id := (partition{topic.TopicID, p.Partition}); e.last[id].epoch != info.Epoch {
					e.last[id] = appended{info.Epoch, info.HighWatermark}
				}
				e.mu.Unlock()
			}
		}
	}
	return nil, nil, false
}

// correct changes the requests that kfake would respond to incorrectly.
//
//nolint:revive // ControlKey requires this order of results
func (e *epochs) correct(r kmsg.Request) (kmsg.Response, error, bool) {
	e.cluster.KeepControl()
	for _, t := range r.(*kmsg.OffsetForLeaderEpochRequest).Topics {
		topic := e.cluster.TopicInfo(t.Topic)
		if topic == nil {
			continue
		}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			info := e.cluster.PartitionInfo(t.Topic, p.Partition)
			if info == nil || p.LeaderEpoch < 0 || p.LeaderEpoch >= info.Epoch {
				continue
			}
			e.mu.Lock()
			last := e.last[partition{topic.TopicID, p.Partition}]
			e.mu.Unlock()
			since := last.epoch > p.LeaderEpoch && last.from < info.HighWatermark
			if !since || info.LogStartOffset == info.HighWatermark {
				p.LeaderEpoch = info.Epoch
			}
		}
	}
	return nil, nil, false
}
