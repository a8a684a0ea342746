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

// buildInfo returns a gauge with the version as a label.
func buildInfo() prometheus.Collector {
	return info("build_info", "Version of the program. The value is always 1.", "version", Version())
}

// eventListInfo returns a gauge with the hash of segment.events.only_file as a label.
func eventListInfo(hash string) prometheus.Collector {
	return info("event_list_info", "SHA-256 hash of segment.events.only_file. The value is always 1.", "sha256", hash)
}

// info returns a gauge that is always 1, with one label.
func info(name, help, label, value string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "segment_launchdarkly", Name: name, Help: help, ConstLabels: prometheus.Labels{label: value},
	})
	g.Set(1)
	return g
}
