package kafkatest

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// NewEmbedded starts a broker in this process, on loopback unless opts say
// otherwise. Close it.
//
// Unlike kfake alone, it returns the right end of a leader epoch after the leader has
// moved: see epochs. Give it kfake.DataDir for anything large: records then stay out of
// memory.
func NewEmbedded(opts ...kfake.Opt) (*kfake.Cluster, error) {
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	e := &epochs{cluster: cluster, last: map[partition]appended{}}
	cluster.ControlKey(int16(kmsg.Produce), e.watch)
	cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), e.correct)
	return cluster, nil
}

// epochs corrects questions about the end of a leader epoch. A real broker answers with
// the start of the next epoch, or with the end of the log where nothing was appended
// since. kfake knows of an epoch only once something was appended under it: after a
// leader has moved without a record since, it answers -1, and 0 for a log that
// retention has emptied. A client takes the first for divergence and the second for
// truncation, and rewinds. Such questions are changed into those about the present
// epoch, whose end is the end of the log. All others are left to kfake.
//
// What it does not know (what transactions appended, what an earlier process with the
// same kfake.DataDir appended) makes it see no truncation where there is one, never one
// where there is none.
type epochs struct {
	cluster *kfake.Cluster

	mu   sync.Mutex             // guards the field below
	last map[partition]appended // the last epoch under which records were produced
}

type partition struct {
	topic  [16]byte
	number int32
}

type appended struct {
	epoch int32
	from  int64 // the end of the log before
}

// watch notes under which epoch records are produced, before they are.
func (e *epochs) watch(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // the order that ControlKey asks for
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

// correct changes the questions that kfake answers wrongly.
func (e *epochs) correct(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // the order that ControlKey asks for
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
