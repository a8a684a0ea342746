package main

import (
	"context"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// runForwarder runs the program like the command segment-to-launchdarkly run.
func runForwarder(o *options, stdin io.Reader, stdout io.Writer) error {
	cfg, err := config.Load("", os.Environ())
	if err != nil {
		return err
	}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	log := zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), zap.InfoLevel))
	stopProfile, err := profile(o, cfg)
	if err != nil {
		return err
	}
	app.LimitMemory(cfg)
	program, err := app.New(cfg, log, app.Options{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	exited := make(chan error, 1)
	go func() { exited <- program.Run(ctx) }()

	return obey(stdin, stdout, map[string]func() (any, error){
		"taken": func() (any, error) {
			read, _ := program.Status()
			return read.Records, nil
		},
		"cpu": func() (any, error) { return cpuTime(), nil },
		"end": func() (any, error) {
			cancel()
			err := <-exited // nil only if everything was delivered and committed
			stopProfile()
			return used(), err
		},
	})
}
