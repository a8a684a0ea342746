//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Ready waits until the cluster is whole but for the nodes that were killed, stopped or paused:
// each of the others answers, knows all of the others, and is in sync for every partition that it
// has a replica of.
func (a *Apache) Ready(ctx context.Context) error {
	err := a.everywhere(ctx, func(ctx context.Context, b *kgo.Broker) error {
		serving, err := a.serving()
		if err != nil {
			return err
		}
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, b)
		if err != nil {
			return err
		}
		var known []int32
		for _, b := range resp.Brokers {
			known = append(known, b.NodeID)
		}
		for _, id := range serving {
			if !slices.Contains(known, id) {
				return fmt.Errorf("node %d is not registered", id)
			}
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				for _, id := range serving {
					if slices.Contains(p.Replicas, id) && !slices.Contains(p.ISR, id) {
						return fmt.Errorf("node %d is not in sync for %s/%d", id, *t.Topic, p.Partition)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait for the cluster: %w", err)
	}
	return nil
}

// Coordinator is the number of the node that coordinates a group, as any node knows.
func (a *Apache) Coordinator(ctx context.Context, group string) (int, error) {
	c := a.adm.FindGroupCoordinators(ctx, group)[group]
	if c.Err != nil {
		return 0, fmt.Errorf("find the coordinator of %s: %w", group, c.Err)
	}
	return int(c.NodeID), nil
}

// Leader is the number of the node that leads a partition, as any node knows.
func (a *Apache) Leader(ctx context.Context, topic string, partition int32) (int, error) {
	p, err := partitionBy(ctx, a.cl, topic, partition)
	return int(p.Leader), err
}

// MoveLeader makes the next in-sync replica of a partition its leader, and returns that node's
// number when every node that serves knows it.
func (a *Apache) MoveLeader(ctx context.Context, topic string, partition int32) (int, error) {
	to, err := a.electNext(ctx, topic, partition)
	if err == nil {
		err = a.everywhere(ctx, func(ctx context.Context, b *kgo.Broker) error {
			p, err := partitionBy(ctx, b, topic, partition)
			if err == nil && p.Leader != to {
				err = fmt.Errorf("node %d still leads", p.Leader)
			}
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("move the leader of %s/%d: %w", topic, partition, err)
	}
	return int(to), nil
}

// electNext gives a partition to its next in-sync replica.
func (a *Apache) electNext(ctx context.Context, topic string, partition int32) (int32, error) {
	p, err := partitionBy(ctx, a.cl, topic, partition)
	if err != nil {
		return 0, err
	}
	// Kafka elects the first replica of the list, so the list is turned until another one in sync
	// is the first.
	r := p.Replicas
	for range r {
		if r = append(r[1:], r[0]); r[0] != p.Leader && slices.Contains(p.ISR, r[0]) {
			break
		}
	}
	if r[0] == p.Leader {
		return 0, errors.New("no other replica is in sync")
	}
	var req kadm.AlterPartitionAssignmentsReq
	req.Assign(topic, partition, r)
	altered, err := a.adm.AlterPartitionAssignments(ctx, req)
	if err = errors.Join(err, altered.Error()); err != nil {
		return 0, err
	}
	var set kadm.TopicsSet
	set.Add(topic, partition)
	elected, err := a.adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
	if err == nil {
		err = elected[topic][partition].Err
	}
	return r[0], err
}

// partitionBy asks a node, or any, for a partition, past the caches of kgo and kadm.
func partitionBy(ctx context.Context, by kmsg.Requestor, topic string,
	partition int32) (kmsg.MetadataResponseTopicPartition, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	resp, err := req.RequestWith(ctx, by)
	if err != nil {
		return kmsg.MetadataResponseTopicPartition{}, err
	}
	for _, p := range resp.Topics[0].Partitions {
		if p.Partition == partition {
			return p, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return kmsg.MetadataResponseTopicPartition{}, kerr.UnknownTopicOrPartition
}

// createCoordinators has the cluster make its internal topics, and waits until they serve.
func (a *Apache) createCoordinators(ctx context.Context) error {
	return a.wait(ctx, func() error {
		_, err := a.adm.FetchOffsets(ctx, "kafkatest")
		return errors.Join(err, a.adm.FindTxnCoordinators(ctx, "kafkatest").Error())
	})
}

// everywhere waits until do succeeds for each node that serves.
func (a *Apache) everywhere(ctx context.Context, do func(context.Context, *kgo.Broker) error) error {
	return a.wait(ctx, func() error {
		serving, err := a.serving()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		for _, id := range serving {
			if err := do(ctx, a.cl.SeedBrokers()[id]); err != nil {
				return fmt.Errorf("node %d: %w", id, err)
			}
		}
		return nil
	})
}

// serving are the numbers of the nodes that should answer.
func (a *Apache) serving() ([]int32, error) {
	var ids []int32
	for _, n := range a.nodes {
		ok, err := n.serves()
		if err != nil {
			return nil, err
		}
		if ok {
			ids = append(ids, int32(n.id))
		}
	}
	return ids, nil
}

// wait calls do until it succeeds. It fails when ctx ends, or when a node has ended by itself.
func (a *Apache) wait(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		if _, dead := a.serving(); dead != nil {
			return dead
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
