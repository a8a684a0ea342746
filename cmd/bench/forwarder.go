package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// runForwarder runs the program as segment-to-launchdarkly run does.
func runForwarder(o *options, stdin io.Reader, stdout io.Writer) error {
	cfg, err := config.Load("", os.Environ())
	if err != nil {
		return err
	}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(os.Stderr), zap.InfoLevel))
	stopProfile, err := profile(profilePath(o, cfg))
	if err != nil {
		return err
	}
	app.LimitMemory(cfg)
	program, err := app.New(cfg, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- program.Run(ctx) }()

	return obey(stdin, stdout, map[string]func() (any, error){
		"taken": func() (any, error) { return taken(program) },
		"heap":  func() (any, error) { return nil, heap(profilePath(o, cfg)) },
		"end": func() (any, error) {
			cancel()
			err := <-ended // nil only if everything was delivered and committed
			stopProfile()
			return used(), err
		},
	})
}

// taken returns the number of records that the program has read.
func taken(program *app.App) (records float64, err error) {
	families, err := program.Gatherer().Gather()
	for _, f := range families {
		if f.GetName() == "segment_launchdarkly_consumer_records_total" {
			records = f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return records, err
}

// profilePath returns the prefix of the paths of a role's profiles, or "" if there are none.
func profilePath(o *options, cfg *config.Config) string {
	if o.pprof == "" {
		return ""
	}
	return filepath.Join(o.pprof, fmt.Sprintf("%s-%d", cfg.Kafka.Group, os.Getpid()))
}
