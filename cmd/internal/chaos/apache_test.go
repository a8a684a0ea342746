//go:build linux

package chaos

import (
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// About two minutes on Apache Kafka, with every action. A longer run is make soak.
func TestNothingBreaksOnApacheKafka(t *testing.T) {
	const session = 4 * time.Second
	cluster := Apache{kafkatest.NewApache(t, kafkatest.ApacheConfig{Properties: ApacheProperties(session)})}
	const seed = 1 // the plan has every action
	limits := Limits{Brokers: 3, Session: session}
	for _, protocol := range []string{"classic", "consumer"} {
		for name, cfg := range map[string]Config{
			"clean": {Clean: true, Plan: NewPlan(seed, 10*time.Second, Limits{Clean: true})},
			"chaos": {Faults: 0.15, Plan: NewPlan(seed, 32*time.Second, limits)},
		} {
			t.Run(name+"-"+protocol, func(t *testing.T) {
				cfg.Binary, cfg.Cluster, cfg.Dir, cfg.Name, cfg.Session = built(t), cluster, t.TempDir(), name+"-"+protocol, session
				cfg.Protocol, cfg.Seed, cfg.Rate, cfg.Logf = protocol, seed, 500, t.Logf
				report, err := Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("seed %d\n%v", seed, report)
				for _, broken := range report.Broken {
					t.Error(broken)
				}
			})
		}
	}
}
