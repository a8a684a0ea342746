package kafkatest

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// NewEmbedded starts a broker in this process, on loopback by default. The caller must close the
// returned cluster.
//
// Unlike plain kfake, the broker returns a leader epoch's correct end offset after the leader has
// moved; see epochs. For large amounts of data, use kfake.DataDir to keep records out of memory.
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

// epochs corrects requests for a leader epoch's end offset. A real broker returns the start of the
// next epoch, or the log end if no later epoch has records. kfake learns about an epoch only when a
// record is appended in it. If the leader has moved and no record has been appended since, kfake
// returns -1. For a log emptied by retention, kfake returns 0. Clients interpret -1 as divergence
// and 0 as truncation, and rewind. In both cases, epochs changes the request to ask for the current
// epoch, which ends at the log end. Other requests remain unchanged.
//
// epochs does not see records appended by transactions, or by an earlier process with the same
// kfake.DataDir. It may therefore hide a real truncation, but never reports a false one.
type epochs struct {
	cluster *kfake.Cluster

	mu   sync.Mutex             // guards the field below
	last map[partition]appended // last epoch with produced records
}

type partition struct {
	topic  [16]byte
	number int32
}

type appended struct {
	epoch int32
	from  int64 // log end before the first record of the epoch
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

// correct changes requests for which kfake would return a wrong offset.
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
