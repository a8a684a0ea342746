package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

func newReplay(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Deliver the events of a period again, so that they count again",
		Long: `Reads the records of kafka.topics whose timestamps are in a period, and delivers their events
again. LaunchDarkly counts replayed events again, because they have new payload IDs.

First, the command prints how many records the period contains, estimates from a sample how
many events they produce, and asks for confirmation. Without a terminal, --yes is required.

The consumer group of a replay is its own. The default group is derived from --from and --to,
so that repeating the command continues an interrupted replay and replays nothing twice.
However, brokers delete the offsets of unused groups after offsets.retention.minutes, 7 days
by default. To replay the same period another time, set another --group.

The last line on standard output is a JSON summary. The exit code is 0 if the whole period was
replayed.`,
		Example: `  ` + name + ` replay -c config.yaml --from 2026-01-31T08:00:00Z --dry-run
  ` + name + ` replay -c config.yaml \
    --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	var p period
	from := cmd.Flags().String("from", "", "start of the period (RFC 3339); required")
	to := cmd.Flags().String("to", "", "end of the period, exclusive (RFC 3339); default the current time")
	cmd.Flags().StringVar(&p.group, "group", "", "consumer group (default kafka.group with a suffix of --from and --to)")
	yes := cmd.Flags().Bool("yes", false, "do not ask for confirmation")
	dryRun := cmd.Flags().Bool("dry-run", false, "only print what would be replayed")
	_ = cmd.MarkFlagRequired("from") // fails only for an unknown flag
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := p.parse(*from, *to, cmd.Flags().Changed("to")); err != nil {
			return err
		}
		cfg, err := config.Load(*path, sys.environ)
		if err != nil {
			return err
		}
		if err := p.configure(cfg, cmd.Flags().Changed("to")); err != nil {
			return err
		}
		if err := p.describe(sys, cfg); err != nil {
			return failure{err}
		}
		if *dryRun {
			return nil
		}
		if !*yes {
			if err := confirm(sys, "Deliver these events?"); err != nil {
				return err
			}
		}
		summary, runErr := runApp(sys, cfg, app.Options{Until: p.to})
		if err := printSummary(sys.stdout, summary); err != nil {
			return err
		}
		return runErr
	}
	return cmd
}

// period is the period of a replay, and the replay's consumer group.
type period struct {
	from, to time.Time
	group    string
}

// parse parses the values of --from and --to. hasTo reports whether --to is set. The times must be
// whole seconds, because the name of the group contains them.
func (p *period) parse(from, to string, hasTo bool) (err error) {
	if p.from, err = parseSecond("from", from); err != nil {
		return err
	}
	p.to = time.Now()
	if hasTo {
		if p.to, err = parseSecond("to", to); err != nil {
			return err
		}
	}
	if !p.from.Before(p.to) {
		return fmt.Errorf("--from: must be before the end of the period, got %s", from)
	}
	return nil
}

// parseSecond parses the value of a flag that must be a whole second.
func parseSecond(flag, text string) (time.Time, error) {
	t, err := parseTime(flag, text)
	if err == nil && t.Nanosecond() != 0 {
		err = fmt.Errorf("--%s: must be a whole second, got %s", flag, text)
	}
	return t, err
}

// configure sets the consumer group and the start position of the replay. Without --to, the group
// does not depend on the current time, so that a repeated command continues.
func (p *period) configure(cfg *config.Config, hasTo bool) error {
	const compact = "20060102T150405Z"
	switch p.group {
	case "":
		p.group = cfg.Kafka.Group + "-replay-" + p.from.UTC().Format(compact)
		if hasTo {
			p.group += "-" + p.to.UTC().Format(compact)
		}
	case cfg.Kafka.Group:
		return fmt.Errorf("--group: must not be kafka.group, got %s", p.group)
	}
	if cfg.DeadLetters.Redrive {
		return errors.New("dead_letters.redrive: must be false for a replay; use the redrive command")
	}
	cfg.Kafka.Group, cfg.Kafka.StartAt = p.group, p.from.Format(time.RFC3339)
	return nil
}

// describe prints how many records the period contains, and about how many events they produce.
func (p *period) describe(sys system, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), previewTimeout)
	defer cancel()
	opts, err := cfg.KafkaOptions()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	records, replayed, err := p.count(ctx, client, cfg.Kafka.Topics)
	if err != nil {
		return err
	}
	share := 0.0
	if records > 0 {
		sample := preview.Source{
			Topics: cfg.Kafka.Topics, Limit: int(min(records, replaySample)), From: p.from, Partition: -1, Offset: -1,
		}
		summary, err := readSummary(ctx, cfg, sample, func(*kgo.Record, transform.Explained) error { return nil })
		if err != nil {
			return err
		}
		if summary.Records == 0 {
			return fmt.Errorf("no record of the period was read within %v", previewTimeout)
		}
		share = float64(summary.Events()) / float64(summary.Records)
	}
	note := ""
	if replayed {
		note = " (continues where an earlier run with this group stopped)"
	}
	_, err = fmt.Fprintf(sys.stdout, "Period   %s to %s\nTopics   %s\nGroup    %s%s\nRecords  %s\nEvents   about %s\n\n"+
		"Events that LaunchDarkly has already counted will count again.\n",
		p.from.UTC().Format(time.RFC3339), p.to.UTC().Format(time.RFC3339), strings.Join(cfg.Kafka.Topics, ", "),
		p.group, note, preview.Number(records), preview.Number(int64(share*float64(records))))
	return err
}

// replaySample is the number of records from which the share of events is estimated.
const replaySample = 1000

// count returns the number of records to replay, and whether the group has replayed some records
// already.
func (p *period) count(
	ctx context.Context, client *kgo.Client, topics []string,
) (records int64, replayed bool, err error) {
	adm := kadm.NewClient(client)
	first, err := adm.ListOffsetsAfterMilli(ctx, p.from.UnixMilli(), topics...)
	if err == nil {
		err = first.Error()
	}
	if err != nil {
		return 0, false, fmt.Errorf("list the offsets at the start of the period: %w", err)
	}
	last, err := adm.ListOffsetsAfterMilli(ctx, p.to.UnixMilli(), topics...)
	if err == nil {
		err = last.Error()
	}
	if err != nil {
		return 0, false, fmt.Errorf("list the offsets at the end of the period: %w", err)
	}
	committed, err := fetchCommitted(ctx, client, p.group)
	if err != nil {
		return 0, false, err
	}
	before := false
	last.Each(func(end kadm.ListedOffset) {
		start, _ := first.Lookup(end.Topic, end.Partition)
		from := start.Offset
		if c, ok := committed.Lookup(end.Topic, end.Partition); ok && c.At >= 0 {
			before = before || c.At < from
			from, replayed = c.At, true
		}
		records += max(0, end.Offset-from)
	})
	if before {
		return 0, false, fmt.Errorf("group %s has committed offsets before the period, "+
			"so it would also replay earlier records; set another --group", p.group)
	}
	return records, replayed, nil
}

// confirm asks a question on the terminal, and returns an error unless the answer is yes.
func confirm(sys system, question string) error {
	if !isTerminal(sys.stdin) {
		return errors.New("--yes: must be set if standard input is not a terminal")
	}
	fmt.Fprintf(sys.stdout, "%s [y/N] ", question)
	answer, err := bufio.NewReader(sys.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return failure{err}
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return failure{errors.New("nothing was replayed")}
	}
	return nil
}
