package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// kafka checks the brokers, and by the first that answers the topics and the group.
func (c *checks) kafka(cfg *config.Config) {
	opts, err := cfg.KafkaOptions()
	if err != nil {
		c.fail("configuration", err, "")
		return
	}
	var client *kgo.Client // of the first broker that answers
	var brokers []kmsg.MetadataResponseBroker
	for _, addr := range cfg.Kafka.Brokers {
		cl, err := kgo.NewClient(slices.Concat(opts, []kgo.Opt{kgo.SeedBrokers(addr)})...)
		if err != nil {
			c.fail("broker "+addr, err, "")
			continue
		}
		defer cl.Close()
		resp, err := reach(cl.SeedBrokers()[0])
		if err != nil {
			c.brokerFailed("broker "+addr, err, brokerAdvice(err, cfg))
			continue
		}
		c.ok("broker "+addr, "reached"+how(cfg))
		if client == nil {
			client, brokers = cl, resp.Brokers
		}
	}
	if client == nil {
		c.skip("topics and group", "no broker could be asked")
		return
	}
	for _, b := range brokers {
		addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if slices.Contains(cfg.Kafka.Brokers, addr) {
			continue
		}
		subject := fmt.Sprintf("broker %s (advertised, ID %d)", addr, b.NodeID)
		if _, err := reach(client.Broker(int(b.NodeID))); err != nil {
			c.brokerFailed(subject, err, "The cluster gives this address to its clients (advertised.listeners): it must be reachable from here. "+brokerAdvice(err, cfg))
		} else {
			c.ok(subject, "reached"+how(cfg))
		}
	}
	adm := kadm.NewClient(client)
	for _, topic := range cfg.Kafka.Topics {
		c.topic(adm, "topic "+topic, topic, kadm.OpRead, "kafka.topics")
	}
	if topic := cfg.DeadLetters.Topic; topic != "" {
		c.topic(adm, "dead letters' topic "+topic, topic, kadm.OpWrite, "dead_letters.topic")
	}
	c.group(client, adm, cfg)
}

// brokerFailed is fail without the Kafka client's own advice.
func (c *checks) brokerFailed(subject string, err error, advice string) {
	if _, ok := errors.AsType[*kgo.ErrFirstReadEOF](err); ok {
		err = errors.New("the broker closed the connection at once")
	}
	c.fail(subject, err, advice)
}

// reach asks one broker for the cluster's brokers, over a new connection with TLS and SASL.
func reach(b *kgo.Broker) (*kmsg.MetadataResponse, error) {
	ctx, cancel := timeout()
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := b.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// how says what a connection passed.
func how(cfg *config.Config) string {
	s := ""
	if cfg.Kafka.TLS.Enabled {
		s += ", TLS"
	}
	if m := cfg.Kafka.SASL.Mechanism; m != "" {
		s += ", SASL " + m
	}
	return s
}

// topic checks that a topic exists, has leaders, and that we may do what we want with it.
func (c *checks) topic(adm *kadm.Client, subject, topic string, want kadm.ACLOperation, key string) {
	ctx, cancel := timeout()
	defer cancel()
	grant := fmt.Sprintf("Grant %s on the topic to this user.", want)
	resp, err := adm.Metadata(kadm.WithAuthorizedOps(ctx), topic)
	detail := resp.Topics[topic]
	if err == nil {
		err = detail.Err
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		c.fail(subject, errors.New("does not exist"), "Create it, or correct "+key+".")
		return
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		c.fail(subject, errors.New("may not be seen by this user"), grant)
		return
	case err != nil:
		c.fail(subject, err, "")
		return
	case !allowed(detail.AuthorizedOperations, want):
		c.fail(subject, fmt.Errorf("exists, but this user may not %s it", want), grant)
		return
	}
	for _, p := range detail.Partitions.Sorted() {
		if p.Err != nil {
			c.fail(subject, fmt.Errorf("partition %d: %w", p.Partition, p.Err), "Look at the brokers: a partition without a leader cannot be used.")
			return
		}
	}
	c.ok(subject, fmt.Sprintf("exists, %d partitions", len(detail.Partitions)))
}

// allowed reports whether want is among the operations that the broker names. Brokers before 2.3 name none.
func allowed(ops []kadm.ACLOperation, want kadm.ACLOperation) bool {
	return len(ops) == 0 || slices.Contains(ops, want) || slices.Contains(ops, kadm.OpAll)
}

// joinable asks for the right to join and to commit (READ) without joining: the heartbeat of a member that does not exist.
// Any other error than that of the missing right is the answer hoped for.
func joinable(ctx context.Context, client *kgo.Client, group string) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, name+"-check", -1
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// group checks that the group's offsets may be read, and that its members, if any, can share with us.
func (c *checks) group(client *kgo.Client, adm *kadm.Client, cfg *config.Config) {
	ctx, cancel := timeout()
	defer cancel()
	group := cfg.Kafka.Group
	subject := "group " + group
	if cfg.Kafka.RebalanceProtocol == "consumer" {
		if err := consumer.CheckConsumerProtocol(ctx, client); err != nil {
			c.fail(subject, err, "Upgrade the brokers, or set kafka.rebalance_protocol: classic.")
			return
		}
	}
	grant := "Grant READ on the group to this user, and DESCRIBE if that is not implied."
	offsets, err := adm.FetchOffsets(ctx, group)
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		c.fail(subject, errors.New("may not be read by this user"), grant)
		return
	case err != nil && !errors.Is(err, kerr.GroupIDNotFound):
		c.fail(subject, err, "Look at the brokers: the group's coordinator did not answer as it should.")
		return
	}
	if err := joinable(ctx, client, group); errors.Is(err, kerr.GroupAuthorizationFailed) {
		c.fail(subject, errors.New("this user may not join it or commit"), grant)
		return
	}
	described, err := adm.DescribeGroups(ctx, group)
	if d := described[group]; err == nil && cfg.Kafka.RebalanceProtocol == "classic" && d.Protocol != "" && d.Protocol != "cooperative-sticky" {
		c.fail(subject, fmt.Errorf("has members (%d) that share partitions by %q, which cannot be mixed with ours", len(d.Members), d.Protocol),
			"Stop them before this program starts, or set another kafka.group.")
		return
	}
	committed := 0
	offsets.Each(func(o kadm.OffsetResponse) {
		if slices.Contains(cfg.Kafka.Topics, o.Topic) && o.At >= 0 {
			committed++
		}
	})
	if committed == 0 {
		c.ok(subject, "may be read; has no offsets yet and will start at "+cfg.Kafka.StartAt)
		return
	}
	c.ok(subject, fmt.Sprintf("may be read; has offsets in %d partitions", committed))
}
