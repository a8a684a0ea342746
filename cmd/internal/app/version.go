package app

import (
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// version is set at link time: -ldflags "-X .../cmd/internal/app.version=v1.2.3".
var version string

// Version returns the program's version: that set at link time, else the module's.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// buildInfo is a metric whose value is 1 and whose label is the version.
func buildInfo() prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "segment_launchdarkly", Name: "build_info", Help: "Version of the program; the value is 1.",
		ConstLabels: prometheus.Labels{"version": Version()},
	})
	g.Set(1)
	return g
}
