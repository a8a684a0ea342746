//go:build linux

package chaos

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// buildOnce builds the program once for all tests.
var buildOnce = sync.OnceValues(func() (string, error) {
	return Build(context.Background(), buildDir, nil)
})

var buildDir string

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "chaos"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// embedded runs a plan on a new embedded cluster.
func embedded(t *testing.T, program, protocol string, plan []Step, change func(*Config)) *Report {
	t.Helper()
	const session = 3 * time.Second // long enough for a busy machine
	cluster, err := NewEmbedded(t.TempDir(), session)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cfg := Config{
		Binary: program, Cluster: cluster, Dir: t.TempDir(), Name: "chaos-" + protocol, Protocol: protocol, Session: session,
		Plan: plan, Seed: 1, Rate: 600, Faults: 0.15, Logf: t.Logf,
	}
	if change != nil {
		change(&cfg)
	}
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", report)
	return report
}

func built(t *testing.T) string {
	t.Helper()
	program, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// Clean plans are tested on Apache Kafka, and in virtual time by the tests of package consumer.
func TestInvariantsHoldOnTheEmbeddedBroker(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			plan := []Step{
				{Do: Join, For: 500 * time.Millisecond}, {Do: Join, For: time.Second},
				{Do: Kill, Target: 0, For: 5 * time.Second}, {Do: Join, For: 500 * time.Millisecond},
				{Do: MoveLeader, Target: 1},
				{Do: Outage, Fault: ldtest.Fault{Kind: ldtest.Reset, Accepted: true}, For: 500 * time.Millisecond},
				{Do: Leave, Target: 0},
				{Do: Join, For: time.Second}, {Do: Outage, Fault: ldtest.Fault{Status: 503}, For: time.Second},
				{Do: Kill, Target: 0, Fire: true, For: 500 * time.Millisecond},
			}
			for _, broken := range embedded(t, built(t), protocol, plan, nil).Broken {
				t.Error(broken)
			}
		})
	}
}
