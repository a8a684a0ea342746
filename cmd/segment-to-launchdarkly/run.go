package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

func newRun(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Read from Kafka and deliver to LaunchDarkly until stopped or until a given time",
		Long: `Joins the consumer group, reads Segment events, and delivers the track calls among them to
LaunchDarkly. An offset is committed only after everything before it has been delivered.

On SIGTERM or SIGINT, the program stops reading and drains. During the first half of
delivery.drain_timeout, new requests still start. During the second half, only in-flight
requests may finish. The program then commits, for at most 5 seconds, and leaves the group.
The next owner sends any remaining batches unchanged under the same payload IDs, so
LaunchDarkly counts them once. On a second signal, the program exits immediately.

With --until, the program exits once everything before that time is delivered and committed.
Each partition ends at its first record with that timestamp or a later one. If there is no such
record, the partition ends at the end of its log when the member first owns it. Partitions added
later are not read, and the program fails if a topic does not exist or is deleted. A member
exits when its own partitions have reached their ends. A member without partitions waits until
those of the whole group have, as does a member that joined only recently, because partitions
of a crashed member move only after its session timeout. Give all members the same --until.
With --until-end, members that start at different times have different ends. The last line on
standard output is a JSON summary.

Exit codes:

  0    all sealed batches, and with --until everything before the end, were delivered and
       committed
  1    the program failed, or left some batches to the next owner
  2    the command line or the configuration is invalid
  130  a second signal was received`,
		Example: `  ` + name + ` run --config config.yaml
  ` + name + ` run --config config.yaml --until 2026-01-31T00:00:00Z
  S2LD_KAFKA_BROKERS=localhost:9092 S2LD_KAFKA_TOPICS=segment \
    S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=0123456789abcdef01234567 ` + name + ` run`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	untilText := cmd.Flags().String("until", "", "exit once everything before this time (RFC 3339) is delivered")
	untilEnd := cmd.Flags().Bool("until-end", false, "like --until with the time at which the process started")
	cmd.MarkFlagsMutuallyExclusive("until", "until-end")
	cmd.RunE = func(*cobra.Command, []string) (err error) {
		var options app.Options
		switch {
		case *untilEnd:
			options.Until = time.Now()
		case cmd.Flags().Changed("until"):
			if options.Until, err = parseTime("until", *untilText); err != nil {
				return err
			}
		}
		cfg, err := config.Load(*path, sys.environ)
		if err != nil {
			return err
		}
		summary, runErr := runApp(sys, cfg, options)
		if options.Until.IsZero() {
			return runErr
		}
		if err := printSummary(sys.stdout, summary); err != nil {
			return err
		}
		return runErr
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
