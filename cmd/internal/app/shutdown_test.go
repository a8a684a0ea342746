package app

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// An operator who waits for less time kills the program before it has committed.
func TestDocumentsStateTheShutdownTimeout(t *testing.T) {
	cfg, err := config.Load("", []string{
		"S2LD_KAFKA_BROKERS=b:1", "S2LD_KAFKA_TOPICS=t", "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=0123456789abcdef01234567",
	})
	if err != nil {
		t.Fatal(err)
	}
	after, shutdown := int(ShutdownTimeout.Seconds()), int((cfg.Delivery.DrainTimeout + ShutdownTimeout).Seconds())
	if consumer.RebalanceTimeout+ShutdownTimeout > 90*time.Second {
		t.Error("90 seconds are not enough")
	}
	for _, c := range []struct{ file, text string }{
		{"deploy/README.md", fmt.Sprintf("the pod's grace period to `delivery.drain_timeout` plus %d seconds", after)},
		{"deploy/README.md", fmt.Sprintf("`delivery.drain_timeout` plus %d seconds, so wait at least that long", after)},
		{"deploy/README.md", fmt.Sprintf("requires a wait of %d seconds, and 90 seconds is enough", shutdown)},
		{"deploy/README.md", fmt.Sprintf("wait at least `delivery.drain_timeout` plus %d seconds before", after)},
		{"deploy/README.md", fmt.Sprintf("The %d seconds cover", after)},
		{"deploy/helm/segment-to-launchdarkly/values.yaml", fmt.Sprintf("drain_timeout plus %d seconds", after)},
		{"deploy/helm/segment-to-launchdarkly/templates/_helpers.tpl", fmt.Sprintf("(unixEpoch $start)) %d $sleep", after)},
		{"deploy/helm/segment-to-launchdarkly/templates/_helpers.tpl", fmt.Sprintf("delivery.drain_timeout, %d s,", after)},
		{"docker-compose.yml", fmt.Sprintf("(%v seconds) plus %d seconds", cfg.Delivery.DrainTimeout.Seconds(), after)},
	} {
		text, err := os.ReadFile("../../../" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), c.text) {
			t.Errorf("%s does not state %q", c.file, c.text)
		}
	}
}
