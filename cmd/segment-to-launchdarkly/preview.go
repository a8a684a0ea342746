package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const (
	previewTimeout = 15 * time.Second
	previewEnough  = 100 // if at least this many records yield no event, the command fails
)

// previewFlags holds the flags of the preview command.
type previewFlags struct {
	from, topic string
	source      preview.Source
	show        int
	json        bool
}

func newPreview(sys system) *cobra.Command {
	var flags previewFlags
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Show how the records in the configured topics are mapped, without sending anything",
		Long: `Reads the newest records of the configured topics, shows some calls next to their events,
and prints a summary: outcomes by reason, the most frequent event names and how many of
their events have a metric value, IDs, sources, and the format of records that are not
Segment calls. It joins no consumer group, commits nothing, and sends nothing. If
launchdarkly.api_token is set, the summary also shows which event names have a metric.

The records are spread evenly over the partitions. Reading stops after 15 seconds, unless
--follow is set. Values of properties and user keys appear only in the calls shown.

The exit code is 1 if at least 100 records were read and none of them produced an event.`,
		Example: `  ` + name + ` preview --config config.yaml
  ` + name + ` preview --config config.yaml -n 10000 --from 2026-01-31T00:00:00Z --show 0
  ` + name + ` preview -c config.yaml --topic segment --partition 3 --offset 1207 -n 1`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	f := cmd.Flags()
	f.IntVarP(&flags.source.Limit, "records", "n", 1000, "maximum number of records")
	f.StringVar(&flags.from, "from", "",
		"read the first records at or after this time (RFC 3339) instead of the newest ones")
	f.StringVar(&flags.topic, "topic", "", "read only this one of the configured topics")
	f.Int32Var(&flags.source.Partition, "partition", -1, "read only this partition of --topic (default all)")
	f.Int64Var(&flags.source.Offset, "offset", -1, "read the first records at or after this offset of --partition")
	f.BoolVar(&flags.source.Follow, "follow", false, "keep reading new records until interrupted")
	f.IntVar(&flags.show, "show", 5, "number of calls to show")
	f.BoolVar(&flags.json, "json", false, "print the summary as JSON, without calls")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.LoadFor(config.Offline, *path, sys.environ)
		if err != nil {
			return err
		}
		if err := cfg.LoadEventList(); err != nil {
			return err
		}
		if err := flags.complete(cfg); err != nil {
			return err
		}
		return runPreview(sys, cfg, &flags)
	}
	return cmd
}

// complete validates the flags and sets the remaining fields of f.source.
func (f *previewFlags) complete(cfg *config.Config) error {
	if cfg.DeadLetters.Redrive {
		return errors.New("dead_letters.redrive: preview does not support dead letters")
	}
	f.source.Topics = cfg.Kafka.Topics
	if f.topic != "" {
		f.source.Topics = []string{f.topic}
	}
	if f.from != "" {
		var err error
		if f.source.From, err = time.Parse(time.RFC3339, f.from); err != nil {
			return fmt.Errorf("--from: must be a time such as 2026-01-31T00:00:00Z, got %s", f.from)
		}
	}
	switch {
	case f.source.Limit < 1:
		return fmt.Errorf("--records: must be at least 1, got %d", f.source.Limit)
	case f.show < 0:
		return fmt.Errorf("--show: must be at least 0, got %d", f.show)
	case f.source.Partition >= 0 && len(f.source.Topics) != 1:
		return errors.New("--partition: requires --topic")
	case f.source.Offset >= 0 && f.source.Partition < 0:
		return errors.New("--offset: requires --partition")
	case f.source.Offset >= 0 && f.from != "":
		return errors.New("--offset: must not be set together with --from")
	}
	return nil
}

func runPreview(sys system, cfg *config.Config, flags *previewFlags) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	metrics, err := metricNames(ctx, cfg)
	if err != nil {
		fmt.Fprintf(sys.stderr, "%s: the summary does not show which names have a metric: %v\n", name, err)
	}
	if !flags.source.Follow {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, previewTimeout)
		defer stop()
	}
	show := flags.show
	if flags.json {
		show = 0
	}
	shown := 0
	summary, err := readSummary(ctx, cfg, flags.source, func(r *kgo.Record, call transform.Explained) error {
		if shown == show || call.Source == nil || call.Reason.Outcome() == transform.Filtered {
			return nil
		}
		shown++
		return showCall(sys.stdout, r, call)
	})
	if err != nil {
		return failure{fmt.Errorf("%w; run \"%s check\" to find the cause", err, name)}
	}
	summary.Metrics = metrics
	if flags.json {
		err = summary.WriteJSON(sys.stdout)
	} else {
		err = summary.Write(sys.stdout)
	}
	if err != nil {
		return outputFailure(err)
	}
	if summary.Records >= previewEnough && summary.Events() == 0 {
		return failure{errors.New("no event in " + preview.Number(summary.Records) + " records")}
	}
	return nil
}

// metricNames returns the names of the events that a metric of the project counts, or nil if
// launchdarkly.api_token is not set.
func metricNames(ctx context.Context, cfg *config.Config) (map[string]bool, error) {
	if !cfg.LaunchDarkly.APIToken.IsSet() {
		return nil, nil
	}
	client, err := cfg.API(app.Version())
	if err != nil {
		return nil, err
	}
	metrics, err := client.Metrics(ctx, cfg.LaunchDarkly.ProjectKey, false)
	if err != nil {
		return nil, withAdvice(err)
	}
	names := map[string]bool{}
	for _, m := range metrics {
		if !m.Warehouse() {
			names[m.EventKey] = true
		}
	}
	return names, nil
}

// readSummary reads and maps records, and passes each of their calls to visit, including tombstones
// and objects that are not Segment calls.
func readSummary(ctx context.Context, cfg *config.Config, src preview.Source,
	visit func(*kgo.Record, transform.Explained) error,
) (*preview.Summary, error) {
	mapping, err := transform.Compile(cfg.Mapping())
	if err != nil {
		return nil, err
	}
	opts, err := cfg.KafkaOptions()
	if err != nil {
		return nil, err
	}
	t := mapping.NewTransformer()
	var summary preview.Summary
	err = preview.Read(ctx, opts, src, func(r *kgo.Record) error {
		calls := t.Explain(consumer.Input(r, cfg.DeadLetters.Redrive))
		summary.Add(r, calls)
		for _, call := range calls {
			if err := visit(r, call); err != nil {
				return err
			}
		}
		return nil
	})
	return &summary, err
}

// showCall shows a Segment call and its event, or the reason why it has none.
func showCall(w io.Writer, r *kgo.Record, call transform.Explained) error {
	right := call.Event
	if right == nil {
		right = []byte(preview.Describe(call.Call))
	}
	text := preview.SideBySide(
		fmt.Sprintf("%s, partition %d, offset %d", preview.Cut(r.Topic, 40), r.Partition, r.Offset), call.Source,
		"LaunchDarkly event", right, columns(w))
	_, err := fmt.Fprintln(w, text)
	return err
}

// columns returns the width of the terminal, or 120 if w is not a terminal.
func columns(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 120
}
