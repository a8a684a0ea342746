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
		Short: "Read from Kafka and deliver to LaunchDarkly, until told to stop",
		Long: `Joins the consumer group, reads Segment events, and delivers the track calls among them to
LaunchDarkly. An offset is committed only when everything before it has been delivered.

SIGTERM or SIGINT ends it: it takes no more records, delivers what it has for half of
delivery.drain_timeout, lets requests under way end in the other half, commits (for 10
seconds at most), and leaves the group. What is left is delivered by the next to run, as
the same batches under the same payload IDs, which LaunchDarkly counts once. A second
signal ends it at once.

Exit codes: 0 everything taken was delivered, 1 something was not or could not be started,
2 the command line or the configuration is wrong, 130 ended by a second signal.`,
		Example: `  ` + name + ` run --config config.yaml
  S2LD_KAFKA_BROKERS=localhost:9092 S2LD_KAFKA_TOPICS=segment \
    S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=0123456789abcdef01234567 ` + name + ` run`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.Load(*path, sys.environ)
		if err != nil {
			return err
		}
		log := newLogger(cfg.Log, sys.stderr)
		app.LimitMemory(cfg)
		ctx, stop := untilStopped(log)
		defer stop()
		if err := app.Run(ctx, cfg, log); err != nil {
			log.Error("failed", zap.Error(err))
			return errReported
		}
		return nil
	}
	return cmd
}

// untilStopped returns a context that the first SIGTERM or SIGINT ends. The second ends the program. stop releases both.
func untilStopped(log *zap.Logger) (ctx context.Context, stop func()) {
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
			log.Warn("stopped at once: what was under way is delivered again by the next to run", zap.Stringer("signal", s))
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
