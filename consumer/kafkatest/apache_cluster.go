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

// Ready waits until all nodes respond, know each other, and have all their replicas in sync. It
// ignores stopped and paused nodes.
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
						return fmt.Errorf("node %d is not in sync for topic %s, partition %d",
							id, *t.Topic, p.Partition)
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

// Coordinator returns the node number of a group's coordinator.
func (a *Apache) Coordinator(ctx context.Context, group string) (int, error) {
	c := a.adm.FindGroupCoordinators(ctx, group)[group]
	if c.Err != nil {
		return 0, fmt.Errorf("find the coordinator of %s: %w", group, c.Err)
	}
	return int(c.NodeID), nil
}

// Leader returns the node number of a partition's leader.
func (a *Apache) Leader(ctx context.Context, topic string, partition int32) (int, error) {
	p, err := partitionBy(ctx, a.cl, topic, partition)
	return int(p.Leader), err
}

// MoveLeader moves a partition's leadership to the next in-sync replica. It waits until all serving
// nodes know the new leader, and returns the new leader's node number.
func (a *Apache) MoveLeader(ctx context.Context, topic string, partition int32) (int, error) {
	to, err := a.electNext(ctx, topic, partition)
	if err == nil {
		err = a.everywhere(ctx, func(ctx context.Context, b *kgo.Broker) error {
			p, err := partitionBy(ctx, b, topic, partition)
			if err == nil && p.Leader != to {
				err = fmt.Errorf("node %d is still the leader", p.Leader)
			}
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("move the leader of topic %s, partition %d: %w", topic, partition, err)
	}
	return int(to), nil
}

// electNext elects a partition's next in-sync replica as leader, and returns the new leader's node
// number.
func (a *Apache) electNext(ctx context.Context, topic string, partition int32) (int32, error) {
	p, err := partitionBy(ctx, a.cl, topic, partition)
	if err != nil {
		return 0, err
	}
	// Kafka elects the first replica in the list, so rotate the list until another in-sync replica
	// is first.
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

// partitionBy fetches a partition's metadata through a broker or client, bypassing the caches of
// kgo and kadm.
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

// createCoordinators triggers the creation of the cluster's internal topics, and waits until they
// are available.
func (a *Apache) createCoordinators(ctx context.Context) error {
	return a.wait(ctx, func() error {
		_, err := a.adm.FetchOffsets(ctx, "kafkatest")
		return errors.Join(err, a.adm.FindTxnCoordinators(ctx, "kafkatest").Error())
	})
}

// everywhere waits until the function do succeeds for all serving nodes.
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

// serving returns the numbers of the nodes expected to respond.
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

// wait calls the function do until it succeeds. It fails if ctx is done or a node exits
// unexpectedly.
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
