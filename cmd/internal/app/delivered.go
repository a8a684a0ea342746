package app

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// Delivered is the content of /delivered.json.
type Delivered struct {
	Since       time.Time   `json:"since"`   // start of the process; earlier deliveries are not counted
	Replica     string      `json:"replica"` // host name, which is the pod name in Kubernetes
	Group       string      `json:"group"`
	Environment Environment `json:"environment"`
	// Hours is in order. It omits hours without deliveries, and all that began more than
	// [consumer.DeliveredFor] before the current hour.
	Hours []consumer.DeliveredHour `json:"hours"`
}

// Environment names a LaunchDarkly environment. Fields that are not configured are empty.
type Environment struct {
	ClientSideID   string `json:"client_side_id,omitempty"`
	ProjectKey     string `json:"project_key,omitempty"`
	EnvironmentKey string `json:"environment_key,omitempty"`
}

// EnvironmentOf returns the environment that cfg names.
func EnvironmentOf(cfg *config.Config) Environment {
	ld := cfg.LaunchDarkly
	return Environment{ld.ClientSideID, ld.ProjectKey, ld.EnvironmentKey}
}

// String returns the parts that are configured.
func (e Environment) String() string {
	parts := []string{e.ClientSideID, e.ProjectKey, e.EnvironmentKey}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// Matches reports whether both can be the same environment: no part that both configure differs.
func (e Environment) Matches(other Environment) bool {
	same := func(a, b string) bool { return a == "" || b == "" || a == b }
	return same(e.ClientSideID, other.ClientSideID) && same(e.ProjectKey, other.ProjectKey) &&
		same(e.EnvironmentKey, other.EnvironmentKey)
}

// serveDelivered serves /delivered.json.
func (a *App) serveDelivered(w http.ResponseWriter, _ *http.Request) {
	if !a.cfg.Admin.EventNames {
		http.Error(w, "not available, because admin.event_names is false", http.StatusNotFound)
		return
	}
	d := Delivered{
		Since: a.started.UTC(), Group: a.cfg.Kafka.Group, Hours: a.consumer.Delivered(),
		Environment: EnvironmentOf(a.cfg),
	}
	d.Replica, _ = os.Hostname()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d) // fails only if the client disconnects
}

// logDelivered logs the deliveries of each hour when the hour has ended, and those of the last hour
// when ctx is done. The first hour is the one that contains from. current returns the deliveries.
func logDelivered(ctx context.Context, log *zap.Logger, from time.Time, current func() []consumer.DeliveredHour) {
	from = from.UTC()
	for stopped := false; !stopped; {
		to := from.Truncate(time.Hour).Add(time.Hour)
		select {
		case <-time.After(time.Until(to)):
		case <-ctx.Done():
			stopped, to = true, time.Now().UTC()
		}
		logHour(log, current(), from, to)
		from = to
	}
}

// logHour logs the deliveries between two times within an hour.
func logHour(log *zap.Logger, hours []consumer.DeliveredHour, from, to time.Time) {
	found := consumer.DeliveredHour{Events: map[string]int64{}}
	for _, h := range hours {
		if h.Hour.Equal(from.Truncate(time.Hour)) {
			found = h
		}
	}
	delivered := found.Other
	for _, events := range found.Events {
		delivered += events
	}
	log.Info("events delivered", zap.String("from", from.Format(time.RFC3339)),
		zap.String("to", to.Format(time.RFC3339)), zap.Int64("delivered", delivered),
		zap.Any("by_name", found.Events), zap.Int64("other", found.Other))
}
