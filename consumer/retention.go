package consumer

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// topicConfig holds the part of a topic's configuration that determines its retention.
type topicConfig struct {
	asked     time.Time     // time of the last request; zero if there was none
	failing   bool          // the last request failed
	retention time.Duration // age at which Kafka may delete a record; 0 if unlimited or unknown
}

// configInterval is the interval between requests for a topic's configuration.
const configInterval = 5 * time.Minute

// retention returns the age at which Kafka may delete a topic's records. It returns 0 if
// retention.ms is -1, if cleanup.policy does not include delete, or if the configuration is unknown.
func (t *topics) retention(name string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[name].config.retention
}

// refreshConfigs requests the configuration of each topic for which no request was sent within
// configInterval. The permission DESCRIBE_CONFIGS is optional. A failure is therefore not a
// problem, and only the first failure of a series is logged.
func (t *topics) refreshConfigs(ctx context.Context, names []string) {
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range t.takeDueConfigs(names) {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
		resource.ConfigNames = []string{configRetention, configCleanup}
		request.Resources = append(request.Resources, resource)
	}
	if len(request.Resources) == 0 {
		return
	}
	response, err := request.RequestWith(ctx, t.admin)
	if err != nil {
		if ctx.Err() == nil {
			for _, resource := range request.Resources {
				t.setConfig(resource.ResourceName, 0, err)
			}
		}
		return
	}
	for _, r := range response.Resources {
		t.setConfig(r.ResourceName, deletionAge(r.Configs), kerr.ErrorForCode(r.ErrorCode))
	}
}

// takeDueConfigs returns the topics whose configuration was not requested within configInterval,
// and marks them as requested.
func (t *topics) takeDueConfigs(names []string) (due []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		known, ok := t.known[name]
		if !ok || time.Since(known.config.asked) < configInterval {
			continue
		}
		known.config.asked = time.Now()
		t.known[name] = known
		due = append(due, name)
	}
	return due
}

// setConfig stores a topic's retention. On an error other than a missing permission, it keeps the
// known retention.
func (t *topics) setConfig(name string, retention time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.known[name]
	denied := errors.Is(err, kerr.TopicAuthorizationFailed)
	if err == nil || denied {
		known.config.retention = retention
	}
	if err != nil && !known.config.failing {
		fields := []zap.Field{zap.String("topic", name), zap.Error(err)}
		if denied {
			fields = append(fields, zap.String("permission", "DESCRIBE_CONFIGS"))
		}
		t.log.Info("cannot read topic retention; retention alert may lack data", fields...)
	}
	known.config.failing = err != nil
	t.known[name] = known
}

const (
	configRetention = "retention.ms"
	configCleanup   = "cleanup.policy"
)

// deletionAge returns the age at which a topic with the given configuration deletes records, or 0
// if the topic does not delete records by age.
func deletionAge(configs []kmsg.DescribeConfigsResponseResourceConfig) (age time.Duration) {
	for _, c := range configs {
		switch {
		case c.Value == nil:
		case c.Name == configCleanup && !strings.Contains(*c.Value, "delete"):
			return 0
		case c.Name == configRetention:
			ms, err := strconv.ParseInt(*c.Value, 10, 64)
			if err == nil && ms > 0 && ms <= math.MaxInt64/int64(time.Millisecond) {
				age = time.Duration(ms) * time.Millisecond
			}
		}
	}
	return age
}
