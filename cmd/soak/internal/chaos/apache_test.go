//go:build linux

package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

const (
	apacheSeed    = 2995
	apacheSession = 4 * time.Second
)

// apachePlan returns a plan with every action. Kills and freezes happen both under fire and in
// calm.
func apachePlan() []Step {
	second := time.Second
	return []Step{
		{Do: Join, For: second}, {Do: Join, Static: true, For: second}, {Do: Join, For: 2 * second},
		{Do: Cut, Link: clusterSize, For: second}, {Do: Cut, Target: 1, Link: clusterSize + 1, For: second},
		{Do: Block, Target: 2, Link: clusterSize + 1, Up: true, Down: true, For: 6 * second},
		{Do: Block, Link: 1, Down: true, Cut: true, For: 2 * second},
		{Do: Slow, Link: clusterSize + 1, By: 300 * time.Millisecond, For: 2 * second},
		{Do: Late, Link: clusterSize + 1, For: 2 * second},
		{Do: Kill, For: apacheSession + takeover}, {Do: Grow, For: second}, {Do: Bounce, For: second},
		{Do: Twin, Fire: true, For: 5 * second},
		{Do: Join, For: second}, {Do: Trim, For: second}, {Do: TrimAhead, Fire: true, For: 2 * second},
		{Do: Recreate, For: second},
		{Do: Freeze, For: apacheSession + takeover}, {Do: Freeze, Fire: true, For: apacheSession + takeover},
		{Do: MoveLeader, For: second},
		{Do: Outage, Fault: ldtest.Fault{Status: 401}, For: second}, {Do: KillBroker, Target: 1, For: 2 * second},
		{Do: RestartBrokers, For: second},
		{Do: Unclean, For: 2 * second}, {Do: KillCoordinator, For: 2 * second}, {Do: RestartBrokers, For: second},
		{Do: Leave, For: second}, {Do: Join, For: second}, {Do: Reset, To: earliest, For: 3 * second},
		{Do: Kill, Fire: true, For: second}, {Do: Rest, For: second},
	}
}

func TestPlanForApacheKafkaHasEveryAction(t *testing.T) {
	type kind struct {
		do   Action
		fire bool
	}
	seen := map[kind]bool{}
	for _, s := range apachePlan() {
		seen[kind{s.Do, s.Fire && (s.Do == Kill || s.Do == Freeze)}] = true
	}
	if len(seen) != 24 {
		t.Errorf("%v: want all 24 kinds", seen)
	}
}

// This test takes about five minutes. For a longer run, use make soak.
func TestInvariantsHoldOnApacheKafka(t *testing.T) {
	cluster := Apache{kafkatest.NewApache(t, kafkatest.ApacheConfig{Properties: ApacheProperties(apacheSession)})}
	plan := apachePlan()
	if cluster.Old() {
		plan = slices.DeleteFunc(plan, func(s Step) bool { return s.Do == Unclean })
	}
	for _, protocol := range []string{"classic", "consumer"} {
		for name, cfg := range map[string]Config{
			"clean": {Clean: true, Plan: NewPlan(apacheSeed, 10*time.Second, Limits{Clean: true})},
			"chaos": {Faults: 0.15, Plan: plan},
		} {
			t.Run(name+"-"+protocol, func(t *testing.T) {
				cfg.Binary, cfg.Cluster, cfg.Dir, cfg.Name = built(t), cluster, t.TempDir(), name+"-"+protocol
				cfg.Session = apacheSession
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
