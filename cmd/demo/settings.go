package main

import (
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// settings returns the program's configuration and the environment variables that it comes from.
// The user's environment variables override the demo's defaults, but not its topics and addresses.
func settings(user, brokers []string, ld string) (cfg *config.Config, environ []string, err error) {
	values := map[string]string{
		"S2LD_BATCH_MAX_AGE":                "1s",    // delivers the first events soon
		"S2LD_DELIVERY_BACKOFF_MAX":         "5s",    // resumes delivery soon after an outage
		"S2LD_KAFKA_SESSION_TIMEOUT":        "6s",    // replaces a killed replica soon
		"S2LD_LOG_LEVEL":                    "error", // hides warnings, because rejected calls and faults are expected
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID":  ldtest.Sample.ClientSideID,
		"S2LD_LAUNCHDARKLY_PROJECT_KEY":     ldtest.Sample.Project,
		"S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY": ldtest.Sample.Key,
		"S2LD_LAUNCHDARKLY_ACCESS_TOKEN":    ldtest.Sample.Token,
	}
	for _, variable := range user {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "S2LD_") {
			values[name] = value
		}
	}
	maps.Copy(values, map[string]string{
		"S2LD_KAFKA_BROKERS":           strings.Join(brokers, ","),
		"S2LD_KAFKA_TOPICS":            topic,
		"S2LD_DEAD_LETTERS_TOPIC":      deadLetters,
		"S2LD_LAUNCHDARKLY_EVENTS_URL": ld,
		"S2LD_ADMIN_LISTEN":            "127.0.0.1:0",
	})
	for _, name := range slices.Sorted(maps.Keys(values)) {
		environ = append(environ, name+"="+values[name])
	}
	if cfg, err = config.Load("", environ); err != nil {
		return nil, nil, usageError{err}
	}
	return cfg, environ, nil
}

// newLogger returns a replica's logger.
func newLogger(cfg config.Log, w io.Writer) *zap.Logger {
	level, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		level = zapcore.InfoLevel // unreachable: the configuration allows only known levels
	}
	enc := zap.NewDevelopmentEncoderConfig()
	enc.EncodeTime = zapcore.TimeEncoderOfLayout(time.TimeOnly)
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.AddSync(w), level))
}
