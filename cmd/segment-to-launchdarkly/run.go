package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

func newRun(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Read from Kafka and deliver to LaunchDarkly until stopped",
		Long: `Joins the consumer group, reads Segment events, and delivers the track calls among them to
LaunchDarkly. An offset is committed only after everything before it has been delivered.

On SIGTERM or SIGINT, the program stops reading and drains. During the first half of
delivery.drain_timeout, new requests still start. During the second half, only in-flight
requests may finish. The program then commits, for at most 5 seconds, and leaves the group.
The next owner sends any remaining batches unchanged under the same payload IDs, so
LaunchDarkly counts them once. On a second signal, the program exits immediately.

Exit codes:

  0    all sealed batches were delivered and committed
  1    the program failed, or left some batches to the next owner
  2    the command line or the configuration is invalid
  130  a second signal was received`,
		Example: `  ` + name + ` run --config config.yaml
  S2LD_KAFKA_BROKERS=localhost:9092 S2LD_KAFKA_TOPICS=segment \
    S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=0123456789abcdef01234567 ` + name + ` run`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.Load(*path, sys.environ)
		if err != nil {
			return err
		}
		log := newLogger(cfg.Log, sys.stderr)
		for _, w := range cfg.Warnings() {
			log.Warn("configuration key has no effect or is probably wrong", zap.String("key", w.Key),
				zap.String("rule", w.Rule), zap.String("origin", w.Origin))
		}
		app.LimitMemory(cfg)
		ctx, stop := signalContext(log)
		defer stop()
		if err := app.Run(ctx, cfg, log); err != nil {
			log.Error("run failed", zap.Error(err))
			return errReported
		}
		return nil
	}
	return cmd
}

// signalContext returns a context that the first SIGTERM or SIGINT cancels. The program exits on a
// second signal. stop ends signal handling and cancels the context.
func signalContext(log *zap.Logger) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	released, done := make(chan struct{}), make(chan struct{})
	next := func() (os.Signal, bool) {
		select {
		case s := <-signals:
			return s, true
		case <-released:
			return nil, false
		}
	}
	go func() {
		defer close(done)
		if s, ok := next(); ok {
			log.Info("stopping", zap.Stringer("signal", s))
			cancel(errors.New(s.String()))
		}
		if s, ok := next(); ok {
			log.Warn("exiting immediately; the next owner redelivers in-flight batches", zap.Stringer("signal", s))
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(released)
		<-done
		cancel(nil)
	}
}
