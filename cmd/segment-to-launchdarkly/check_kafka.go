package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// checkKafka checks the issued credentials, if there are any, and the brokers. It then checks the
// topics and the group through the first broker that responds.
func (c *checks) checkKafka(cfg *config.Config) {
	opts, err := cfg.KafkaOptions()
	if err != nil {
		c.fail("configuration", err, "")
		return
	}
	ctx, cancel := checkContext()
	identity, err := cfg.KafkaIdentity(ctx)
	cancel()
	switch {
	case err != nil:
		advice, cause := unreachable(err, cfg)
		c.fail("kafka.sasl", cause, advice)
		c.skip("brokers, topics, and group", "no credentials")
		return
	case identity != "":
		c.pass("kafka.sasl", identity)
	}
	var client *kgo.Client // client of the first broker that responds
	var brokers []kmsg.MetadataResponseBroker
	for _, addr := range cfg.Kafka.Brokers {
		cl, err := kgo.NewClient(slices.Concat(opts, []kgo.Opt{kgo.SeedBrokers(addr)})...)
		if err != nil {
			c.fail("broker "+addr, err, "")
			continue
		}
		defer cl.Close()
		resp, err := fetchMetadata(cl.SeedBrokers()[0])
		if err != nil {
			advice, cause := unreachable(err, cfg)
			c.fail("broker "+addr, cause, advice)
			continue
		}
		c.pass("broker "+addr, "connected"+security(cfg))
		if client == nil {
			client, brokers = cl, resp.Brokers
		}
	}
	if client == nil {
		c.skip("topics and group", "no broker is reachable")
		return
	}
	for _, b := range brokers {
		addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if slices.Contains(cfg.Kafka.Brokers, addr) {
			continue
		}
		subject := fmt.Sprintf("broker %s (advertised, ID %d)", addr, b.NodeID)
		if _, err := fetchMetadata(client.Broker(int(b.NodeID))); err != nil {
			advice, cause := unreachable(err, cfg)
			c.fail(subject, cause, "The cluster directs clients to this address (advertised.listeners), "+
				"so the address must be reachable from this host. "+advice)
		} else {
			c.pass(subject, "connected"+security(cfg))
		}
	}
	adm := kadm.NewClient(client)
	shares := map[string]float64{} // events per record, by topic
	for _, topic := range cfg.Kafka.Topics {
		subject := "topic " + topic
		if exists := c.checkTopic(adm, subject, topic, kadm.OpRead, consumer.Advice); exists != "" {
			shares[topic] = c.checkRecords(cfg, subject, topic, exists)
		}
	}
	if topic := cfg.DeadLetters.Topic; topic != "" {
		subject := "dead-letter topic " + topic
		if exists := c.checkTopic(adm, subject, topic, kadm.OpWrite, consumer.DeadLetterAdvice); exists != "" {
			c.pass(subject, exists)
		}
	}
	c.checkGroup(client, adm, cfg, shares)
}

// unreachable describes a failed connection to a broker.
func unreachable(err error, cfg *config.Config) (advice string, cause error) {
	return consumer.Unreachable(err, cfg.Kafka.TLS.Enabled, cfg.Kafka.SASL.Mechanism)
}

// fetchMetadata requests the broker list from one broker. It opens a new connection with the
// configured TLS and SASL.
func fetchMetadata(b *kgo.Broker) (*kmsg.MetadataResponse, error) {
	ctx, cancel := checkContext()
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := b.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// security describes how a connection uses TLS and SASL.
func security(cfg *config.Config) string {
	var used []string
	if cfg.Kafka.TLS.Enabled {
		used = append(used, "TLS")
	}
	if m := cfg.Kafka.SASL.Mechanism; m != "" {
		used = append(used, "SASL "+m)
	}
	if len(used) == 0 {
		return ""
	}
	return " with " + strings.Join(used, " and ")
}

// checkTopic checks that a topic exists, that the user has the permission given by want, and that
// every partition has a leader. advice returns advice on an error. checkTopic returns a description
// of the topic, or "" if a check failed.
func (c *checks) checkTopic(
	adm *kadm.Client, subject, topic string, want kadm.ACLOperation, advice func(error) string,
) string {
	ctx, cancel := checkContext()
	defer cancel()
	resp, err := adm.Metadata(kadm.WithAuthorizedOps(ctx), topic)
	detail := resp.Topics[topic]
	if err == nil {
		err = detail.Err
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		c.fail(subject, errors.New("does not exist"), advice(err))
		return ""
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		c.fail(subject, errors.New("not visible to this user"), advice(err))
		return ""
	case err != nil:
		c.fail(subject, err, advice(err))
		return ""
	case !allowed(detail.AuthorizedOperations, want):
		c.fail(subject, fmt.Errorf("%s is not granted to this user", want), advice(kerr.TopicAuthorizationFailed))
		return ""
	}
	for _, p := range detail.Partitions.Sorted() {
		if p.Err != nil {
			c.fail(subject, fmt.Errorf("partition %d: %w", p.Partition, p.Err),
				"Check the brokers. A partition without a leader can be neither read nor written.")
			return ""
		}
	}
	return fmt.Sprintf("exists (partitions: %d)", len(detail.Partitions))
}

// checkedRecords is the maximum number of records per topic that the check command maps.
const checkedRecords = 200

// checkRecords maps the newest records of a topic, and checks that some of their calls become
// events. The argument exists is the description returned by checkTopic. checkRecords returns the
// number of events per record, or 0 if it is unknown.
func (c *checks) checkRecords(cfg *config.Config, subject, topic, exists string) float64 {
	if cfg.DeadLetters.Redrive { // the records are dead letters
		c.pass(subject, exists)
		return 0
	}
	ctx, cancel := checkContext()
	defer cancel()
	src := preview.Source{Topics: []string{topic}, Limit: checkedRecords, Partition: -1, Offset: -1}
	s, err := readSummary(ctx, cfg, src, func(*kgo.Record, transform.Explained) error { return nil })
	if err != nil {
		c.fail(subject, err, "Check the brokers and the permissions on the topic.")
		return 0
	}
	calls := fmt.Sprintf("of %s calls in the newest %s records", preview.Number(s.Total()), preview.Number(s.Records))
	more := fmt.Sprintf(` %s Run "%s preview" for details.`, s.Obstacle(), name)
	switch share := float64(s.Events()) / float64(max(s.Total(), 1)); {
	case s.Records == 0 && ctx.Err() != nil:
		c.warn(subject, fmt.Sprintf("%s; no record could be read within %v", exists, checkTimeout))
	case s.Records == 0:
		c.pass(subject, exists+"; no records to check")
	case s.Events() == 0 && s.Understood():
		c.warn(subject, exists+"; none "+calls+" becomes an event."+more)
	case s.Events() == 0:
		c.fail(subject, errors.New(exists+"; none "+calls+" becomes an event."+more), "")
	case share < 0.01:
		c.warn(subject, fmt.Sprintf("%s; only %.1f%% %s become events.%s", exists, 100*share, calls, more))
	default:
		c.pass(subject, fmt.Sprintf("%s; %.0f%% %s become events", exists, 100*share, calls))
	}
	return float64(s.Events()) / float64(max(s.Records, 1))
}

// allowed reports whether ops, the allowed operations returned by the broker, contains ALL or the
// operation given by want. It also returns true if ops is empty, because brokers older than Kafka
// 2.3 return no operations.
func allowed(ops []kadm.ACLOperation, want kadm.ACLOperation) bool {
	return len(ops) == 0 || slices.Contains(ops, want) || slices.Contains(ops, kadm.OpAll)
}

// probeJoin checks, without joining, that the user has READ on the group, which joining and
// committing require. It sends a heartbeat for a nonexistent member.
// [kerr.GroupAuthorizationFailed] means that the permission is missing. The caller ignores any
// other error.
func probeJoin(ctx context.Context, client *kgo.Client, group string) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, name+"-check", -1
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// checkGroup checks the permissions on the group and whether its members, if any, are compatible
// with this program. shares contains the events per record of each topic, if known.
func (c *checks) checkGroup(client *kgo.Client, adm *kadm.Client, cfg *config.Config, shares map[string]float64) {
	ctx, cancel := checkContext()
	defer cancel()
	group := cfg.Kafka.Group
	subject := "group " + group
	if cfg.Kafka.RebalanceProtocol == "consumer" {
		if err := consumer.CheckConsumerProtocol(ctx, client); err != nil {
			c.fail(subject, err, "Upgrade the brokers or set kafka.rebalance_protocol to classic.")
			return
		}
	}
	offsets, err := fetchOffsets(ctx, adm, group)
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		c.fail(subject, errors.New("not visible to this user"), consumer.Advice(err))
		return
	case err != nil && !errors.Is(err, kerr.GroupIDNotFound):
		c.fail(subject, err, "Check the brokers. The group coordinator returned an error.")
		return
	}
	if err := probeJoin(ctx, client, group); errors.Is(err, kerr.GroupAuthorizationFailed) {
		c.fail(subject, errors.New("READ is not granted to this user"), consumer.Advice(err))
		return
	}
	described, err := adm.DescribeGroups(ctx, group)
	d := described[group]
	compatible := cfg.Kafka.RebalanceProtocol != "classic" || d.Protocol == "" || d.Protocol == "cooperative-sticky"
	if err == nil && !compatible {
		c.fail(subject,
			fmt.Errorf("its members (%d) use %s assignment, which is incompatible with cooperative-sticky",
				len(d.Members), d.Protocol),
			consumer.Advice(kerr.InconsistentGroupProtocol))
		return
	}
	committed := 0
	offsets.Each(func(o kadm.OffsetResponse) {
		if slices.Contains(cfg.Kafka.Topics, o.Topic) && o.At >= 0 {
			committed++
		}
	})
	more := recordsAhead(ctx, adm, cfg, offsets) + expectedRequests(ctx, adm, cfg, shares)
	if cfg.Kafka.RebalanceProtocol == "consumer" {
		more += ", session timeout: " + sessionTimeout(ctx, adm, client, group)
	}
	if committed == 0 {
		c.pass(subject, "accessible, no committed offsets, starts at "+cfg.Kafka.StartAt+more)
		return
	}
	c.pass(subject, fmt.Sprintf("accessible (partitions with committed offsets: %d)%s", committed, more))
}

// sessionTimeout describes the group's session timeout under the consumer protocol, and where it is
// configured. A group's configuration needs DESCRIBE_CONFIGS on the group, and the brokers' needs
// DESCRIBE_CONFIGS on the cluster.
func sessionTimeout(ctx context.Context, adm *kadm.Client, client *kgo.Client, group string) string {
	const unknown = "not readable, 45s by default"
	brokers, err := adm.ListBrokers(ctx)
	if err != nil || len(brokers) == 0 {
		return unknown
	}
	broker := strconv.Itoa(int(brokers[0].NodeID))
	for _, source := range []struct {
		kind             kmsg.ConfigResourceType
		name, key, owner string
	}{
		{kmsg.ConfigResourceTypeGroupConfig, group, "consumer.session.timeout.ms", "of the group"},
		{kmsg.ConfigResourceTypeBroker, broker, "group.consumer.session.timeout.ms", "of the brokers"},
	} {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName, resource.ConfigNames = source.kind, source.name, []string{source.key}
		request := kmsg.NewPtrDescribeConfigsRequest()
		request.Resources = append(request.Resources, resource)
		response, err := request.RequestWith(ctx, client)
		if err != nil {
			continue
		}
		for _, r := range response.Resources {
			for _, config := range r.Configs {
				if config.Name != source.key || config.Value == nil {
					continue
				}
				if ms, err := strconv.Atoi(*config.Value); err == nil {
					return fmt.Sprintf("%v (%s %s)", time.Duration(ms)*time.Millisecond, source.key, source.owner)
				}
			}
		}
	}
	return unknown
}

// fetchOffsets fetches the group's committed offsets. It waits for a group coordinator for up to
// half of checkTimeout, because a new cluster has no coordinator until __consumer_offsets exists,
// and creates this topic on the first request.
func fetchOffsets(ctx context.Context, adm *kadm.Client, group string) (kadm.OffsetResponses, error) {
	for started := time.Now(); ; time.Sleep(checkTimeout / 40) {
		offsets, err := adm.FetchOffsets(ctx, group)
		waiting := errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress)
		if !waiting || time.Since(started) > checkTimeout/2 {
			return offsets, err
		}
	}
}

// recordsAhead describes how many records lie between the position at which the group would start
// and the end of the topics. It returns "" if the offsets cannot be listed.
func recordsAhead(ctx context.Context, adm *kadm.Client, cfg *config.Config, committed kadm.OffsetResponses) string {
	topics := cfg.Kafka.Topics
	ends, err := adm.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return ""
	}
	first, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return ""
	}
	starts := first
	switch at := cfg.Kafka.StartTime(); {
	case !at.IsZero():
		starts, err = adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topics...)
	case cfg.Kafka.StartAt == "latest":
		starts = ends
	}
	if err != nil || ends.Error() != nil || first.Error() != nil || starts.Error() != nil {
		return ""
	}
	var ahead int64
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		from := start.Offset
		if o, ok := committed.Lookup(end.Topic, end.Partition); ok && o.At >= 0 {
			begin, _ := first.Lookup(end.Topic, end.Partition)
			from = max(o.At, begin.Offset)
		}
		ahead += max(end.Offset-from, 0)
	})
	return ", records ahead: " + preview.Number(ahead)
}

// rateWindow is the period in which expectedRequests counts records.
const rateWindow = 10 * time.Minute

// expectedRequests describes the requests per second of the whole group, if each partition continues
// at the rate of the last rateWindow. If that rate is unknown or zero, expectedRequests describes
// the maximum while batches are sealed by age. It returns "" if the offsets cannot be listed, or for
// a redrive, which does not continue.
func expectedRequests(ctx context.Context, adm *kadm.Client, cfg *config.Config, shares map[string]float64) string {
	ends, err := adm.ListCommittedOffsets(ctx, cfg.Kafka.Topics...)
	if err != nil || ends.Error() != nil || cfg.DeadLetters.Redrive {
		return ""
	}
	starts, err := adm.ListOffsetsAfterMilli(ctx, time.Now().Add(-rateWindow).UnixMilli(), cfg.Kafka.Topics...)
	if err != nil || starts.Error() != nil {
		return ""
	}
	var requests, most float64
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		events := shares[end.Topic] * float64(max(end.Offset-start.Offset, 0)) / rateWindow.Seconds()
		requests += cfg.Batch.RequestRate(events)
		most += 1 / cfg.Batch.MaxAge.Seconds()
	})
	if requests == 0 {
		return fmt.Sprintf(", expected requests per second: at most %.2f (partitions / batch.max_age)", most)
	}
	return fmt.Sprintf(", expected requests per second: %.2f (at the rate of the last 10 minutes)", requests)
}
