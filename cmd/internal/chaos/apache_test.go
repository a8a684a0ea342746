//go:build linux

package chaos

import (
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// The plan of this seed has every action, kills and freezes both under fire and in calm.
const (
	apacheSeed    = 2995
	apacheSession = 4 * time.Second
)

func apachePlan() []Step {
	return NewPlan(apacheSeed, 32*time.Second, Limits{Brokers: 3, Session: apacheSession})
}

func TestPlanForApacheKafkaHasEveryAction(t *testing.T) {
	type kind struct {
		do   Action
		fire bool
	}
	seen := map[kind]bool{}
	for _, s := range apachePlan() {
		seen[kind{s.Do, s.Fire}] = true
	}
	if len(seen) != 12 {
		t.Errorf("%v: want all 12", seen)
	}
}

// About two minutes on Apache Kafka, with every action. A longer run is make soak.
func TestNothingBreaksOnApacheKafka(t *testing.T) {
	cluster := Apache{kafkatest.NewApache(t, kafkatest.ApacheConfig{Properties: ApacheProperties(apacheSession)})}
	for _, protocol := range []string{"classic", "consumer"} {
		for name, cfg := range map[string]Config{
			"clean": {Clean: true, Plan: NewPlan(apacheSeed, 10*time.Second, Limits{Clean: true})},
			"chaos": {Faults: 0.15, Plan: apachePlan()},
		} {
			t.Run(name+"-"+protocol, func(t *testing.T) {
				cfg.Binary, cfg.Cluster, cfg.Dir, cfg.Name, cfg.Session = built(t), cluster, t.TempDir(), name+"-"+protocol, apacheSession
				cfg.Protocol, cfg.Seed, cfg.Rate, cfg.Logf = protocol, apacheSeed, 500, t.Logf
				report, err := Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("seed %d\n%v", apacheSeed, report)
				for _, broken := range report.Broken {
					t.Error(broken)
				}
			})
		}
	}
}
