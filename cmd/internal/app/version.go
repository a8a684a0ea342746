package app

import (
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// version is set at link time: -ldflags "-X .../cmd/internal/app.version=v1.2.3".
var version string

// Version returns the version set at link time, or else the main module's version, or "dev".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// buildInfo returns a gauge that is always 1, with the version as a label.
func buildInfo() prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "segment_launchdarkly", Name: "build_info", Help: "Version of the program. The value is always 1.",
		ConstLabels: prometheus.Labels{"version": Version()},
	})
	g.Set(1)
	return g
}
