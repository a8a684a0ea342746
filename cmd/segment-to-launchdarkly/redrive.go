package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

func newRedrive(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redrive",
		Short: "Deliver the calls in the dead-letter topic after their cause is fixed",
		Long: `Reads dead_letters.topic up to its current end and delivers only the call that each dead
letter was written for. First, the command prints the number of dead letters per reason.

Reasons are redriven one after the other. Each has its own consumer group,
GROUP-redrive-REASON, whose offsets record which dead letters were redriven. A later or
repeated redrive therefore continues where the previous one stopped, regardless of the reasons
it selects. Brokers delete the offsets of unused groups after offsets.retention.minutes, 7 days
by default. Dead letters redriven before then would count again, so check the numbers first.

Dead letters that fail again are written to --failed-topic. They keep the topic, partition,
offset, and call of the original record, and the header s2ld.attempts contains the number of
attempts. With --failed-topic "", they are only counted and logged.

The last line on standard output is a JSON summary of the results by reason. The exit code is 0
if all selected dead letters were read, even if some failed again, were filtered (segment.max_age,
for example), or were deleted by retention. The summary counts all of these.`,
		Example: `  ` + name + ` redrive -c config.yaml --dry-run
  ` + name + ` redrive -c config.yaml --reason no_user_key --failed-topic segment.dead.2`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	reasons := cmd.Flags().StringArray("reason", nil, "redrive only dead letters with this reason (can be repeated)")
	failed := cmd.Flags().String("failed-topic", "", "topic for dead letters that fail again; required")
	dryRun := cmd.Flags().Bool("dry-run", false, "only print the number of dead letters per reason")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.Load(*path, sys.environ)
		if err != nil {
			return err
		}
		if !*dryRun && !cmd.Flags().Changed("failed-topic") {
			return errors.New("--failed-topic: must be set to the topic for dead letters that fail again, " +
				"or to \"\" to only count and log them")
		}
		if err := checkRedrive(cfg, *failed, *reasons); err != nil {
			return err
		}
		letters, err := countLetters(cfg)
		if err != nil {
			return failure{err}
		}
		if err := printLetters(sys, cfg.DeadLetters.Topic, letters); err != nil {
			return outputFailure(err)
		}
		if *dryRun {
			return nil
		}
		return redrive(sys, cfg, *failed, selectReasons(letters, *reasons))
	}
	return cmd
}

// checkRedrive checks the configuration and the flags. Dead letters that fail again must not be
// written to the topic being redriven.
func checkRedrive(cfg *config.Config, failed string, reasons []string) error {
	source := cfg.DeadLetters.Topic
	switch {
	case cfg.DeadLetters.Redrive:
		return errors.New("dead_letters.redrive: must be false for this command, which reads dead_letters.topic")
	case source == "":
		return errors.New("dead_letters.topic: must be set to the topic to redrive")
	case failed == source:
		return fmt.Errorf("--failed-topic: must not be the topic to redrive, got %s", failed)
	case slices.Contains(cfg.Kafka.Topics, failed):
		return fmt.Errorf("--failed-topic: must not be one of kafka.topics, got %s", failed)
	}
	for _, reason := range reasons {
		if known := consumer.DeadLetterReasons(); !slices.Contains(known, reason) {
			return fmt.Errorf("--reason: must be one of %v, got %s", known, reason)
		}
	}
	return nil
}

// letterCount counts the dead letters with one reason.
type letterCount struct {
	total, waiting int                  // waiting ones are not yet redriven
	redriven       kadm.OffsetResponses // committed offsets of the reason's group
}

// countLetters counts the dead letters in the topic by reason.
func countLetters(cfg *config.Config) (map[string]*letterCount, error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	opts, err := cfg.KafkaOptions()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	// Retention can delete the last dead letters before they are read.
	ctx, stop := context.WithCancelCause(ctx)
	idle := time.AfterFunc(countPatience, func() { stop(fmt.Errorf("no dead letter was read for %v", countPatience)) })
	defer idle.Stop()
	counts := map[string]*letterCount{}
	all := preview.Source{Topics: []string{cfg.DeadLetters.Topic}, Limit: math.MaxInt, Partition: -1, Offset: 0}
	err = preview.Read(ctx, opts, all, func(r *kgo.Record) error {
		idle.Reset(countPatience)
		reason := consumer.Reason(r)
		c := counts[reason]
		if c == nil {
			c = &letterCount{}
			counts[reason] = c
			if c.redriven, err = fetchCommitted(ctx, client, redriveGroup(cfg, reason)); err != nil {
				return err
			}
		}
		c.total++
		if committed, ok := c.redriven.Lookup(r.Topic, r.Partition); !ok || r.Offset >= committed.At {
			c.waiting++
		}
		return nil
	})
	if err == nil {
		err = context.Cause(ctx)
	}
	return counts, err
}

// countPatience bounds the time without a dead letter while the dead letters are counted.
const countPatience = 30 * time.Second

// redriveGroup returns the consumer group that redrives the dead letters with a reason.
func redriveGroup(cfg *config.Config, reason string) string {
	return cfg.Kafka.Group + "-redrive-" + reason
}

func printLetters(sys system, topic string, letters map[string]*letterCount) error {
	w := tabwriter.NewWriter(sys.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "Dead letters in topic %s:\n\n", topic)
	fmt.Fprintf(w, "total\tnot redriven\t  reason\n")
	for _, reason := range slices.Sorted(maps.Keys(letters)) {
		c, label := letters[reason], reason
		if label == "" {
			label = "(none; never redriven)"
		}
		fmt.Fprintf(w, "%s\t%s\t  %s\n", preview.Number(c.total), preview.Number(c.waiting), preview.Printable(label))
	}
	return w.Flush()
}

// selectReasons returns the wanted reasons, or all of them, for which dead letters are not redriven
// yet. A record without a reason is not a dead letter.
func selectReasons(letters map[string]*letterCount, wanted []string) (selected []string) {
	for _, reason := range slices.Sorted(maps.Keys(letters)) {
		if reason != "" && letters[reason].waiting > 0 && (len(wanted) == 0 || slices.Contains(wanted, reason)) {
			selected = append(selected, reason)
		}
	}
	return selected
}

// redrive redrives the dead letters in the topic, one reason after the other, and prints the
// results.
func redrive(sys system, cfg *config.Config, failed string, reasons []string) error {
	// A dead letter has the timestamp of its record, which can be in the future if clocks differ.
	// No timestamp is beyond this end, so each partition is read to the end of its log.
	end := time.Now().AddDate(100, 0, 0)
	results := map[string]app.Summary{}
	var runErr error
	signals := make(chan os.Signal, 1) // for a signal between two runs
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	for _, reason := range reasons {
		if len(signals) > 0 {
			runErr = errReported
			break
		}
		one := *cfg
		one.Kafka.Topics = []string{cfg.DeadLetters.Topic}
		one.Kafka.Group = redriveGroup(cfg, reason)
		one.Kafka.StartAt = "earliest"
		one.DeadLetters = config.DeadLetters{Topic: failed, Redrive: true}
		if results[reason], runErr = runApp(sys, &one, app.Options{Until: end, Reasons: []string{reason}}); runErr != nil {
			break
		}
	}
	summary := struct {
		Complete bool                   `json:"complete"`
		Reasons  map[string]app.Summary `json:"reasons"`
	}{runErr == nil, results}
	if err := printSummary(sys.stdout, summary); err != nil {
		return err
	}
	return runErr
}
