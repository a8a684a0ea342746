package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/verify"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// verifyFlags holds the flags of the verify command.
type verifyFlags struct {
	from, to   string
	replicas   []string
	prometheus string
	incomplete bool
}

func newVerify(sys system) *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the delivered events with those that LaunchDarkly counted",
		Long: `Compares, for each event key, the events that the group delivered with those that
LaunchDarkly's REST API reports as counted. Requires launchdarkly.api_token, project_key, and
environment_key. Only whole hours that ended at least two hours ago are compared.

The deliveries come from each replica's /delivered.json. --replica gives the address of the
admin port. A host name stands for all of its IP addresses, so the chart's headless Service
stands for all replicas. Repeat the flag if the replicas have no common name. Each
replica counts in memory, from zero, and keeps 7 days. Hours that began before a replica
started are therefore not compared, unless --incomplete is set. Deliveries of stopped
replicas are only in their logs, in one entry per hour ("events delivered").

With --prometheus, the deliveries come from the counter
segment_launchdarkly_consumer_events_delivered_total instead, which Prometheus keeps when a
replica stops. The counter exists only if segment.events.only and only_file list 1 to ` +
			fmt.Sprint(consumer.MaxDeliveredNames) + ` names.

The exit code is 1 if, for any event key, the totals differ by more than 0.5% of the delivered
events plus ten events. It is also 1 if no hour can be compared. Keys that the group did not
deliver belong to other senders and are only listed.

LaunchDarkly's API is in beta, and its documentation does not fully define which events
count. Other senders of the same key raise the count.`,
		Example: `  ` + name + ` verify --config config.yaml --replica localhost:9464 \
    --from 2026-01-31T00:00:00Z --to 2026-02-01T00:00:00Z
  ` + name + ` verify --config config.yaml --prometheus http://prometheus:9090 \
    --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.from, "from", "", "start of the period (RFC 3339)")
	f.StringVar(&flags.to, "to", "", "end of the period (RFC 3339)")
	f.StringArrayVar(&flags.replicas, "replica", nil,
		"`ADDRESS` of the replicas' admin port, host:port or a URL; can be repeated")
	f.StringVar(&flags.prometheus, "prometheus", "", "base `URL` of a Prometheus that scrapes the replicas")
	f.BoolVar(&flags.incomplete, "incomplete", false, "also compare hours from which deliveries are missing")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.LoadFor(config.DryRun, *path, sys.environ)
		if err != nil {
			return err
		}
		hours, err := flags.hours(time.Now())
		if err != nil {
			return err
		}
		api, err := cfg.API(app.Version())
		if err != nil {
			return err
		}
		if cfg.LaunchDarkly.EnvironmentKey == "" {
			return config.Problems{{Key: "launchdarkly.environment_key", Rule: "must be set"}}
		}
		return runVerify(sys.stdout, cfg, api, &flags, hours)
	}
	return cmd
}

// hours validates the flags and returns the hours to compare.
func (f *verifyFlags) hours(now time.Time) ([]time.Time, error) {
	if (len(f.replicas) > 0) == (f.prometheus != "") {
		return nil, errors.New("--replica: exactly one of --replica and --prometheus must be set")
	}
	times := map[string]time.Time{}
	for flag, value := range map[string]string{"--from": f.from, "--to": f.to} {
		t, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return nil, fmt.Errorf("%s: must be a time such as 2026-01-31T00:00:00Z, got %q", flag, value)
		}
		times[flag] = t
	}
	hours := verify.Hours(times["--from"], times["--to"], now)
	if len(hours) == 0 {
		return nil, fmt.Errorf("--to: the period must contain a whole hour that ended at least %v ago", verify.Settled)
	}
	return hours, nil
}

func runVerify(w io.Writer, cfg *config.Config, api *ldapi.Client, flags *verifyFlags, hours []time.Time) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	selected := cfg.SelectedEvents()
	if len(selected) > consumer.MaxDeliveredNames {
		selected = nil
	}
	report := verify.Report{Requested: hours}
	delivered, err := deliveries(ctx, cfg, flags, hours, selected, &report)
	if err != nil {
		return failure{err}
	}
	report.Incomplete = delivered.Incomplete
	for _, hour := range hours {
		if flags.incomplete || delivered.Incomplete[hour] == "" {
			report.Compared = append(report.Compared, hour)
		}
	}
	if len(report.Compared) == 0 {
		if err := report.Write(w); err != nil {
			return failure{err}
		}
		return failure{errors.New("no hour is complete; use --prometheus, or set --incomplete")}
	}
	counted, err := api.Usage(ctx, ldapi.UsageQuery{
		Project: cfg.LaunchDarkly.ProjectKey, Environment: cfg.LaunchDarkly.EnvironmentKey,
		From: report.Compared[0], To: report.Compared[len(report.Compared)-1].Add(time.Hour),
	})
	if err != nil {
		return failure{withAdvice(err)}
	}
	report.Rows = verify.Compare(report.Compared, delivered, counted, selected)
	if err := report.Write(w); err != nil {
		return failure{err}
	}
	differs := func(r verify.Row) bool { return r.Verdict.Differs() }
	if slices.ContainsFunc(report.Rows, differs) {
		return errReported
	}
	return nil
}

// deliveries returns the deliveries from the source that the flags select.
func deliveries(ctx context.Context, cfg *config.Config, flags *verifyFlags, hours []time.Time, selected []string,
	report *verify.Report,
) (d verify.Deliveries, err error) {
	if flags.prometheus != "" {
		if selected == nil {
			return d, fmt.Errorf("--prometheus: the counter exists only if segment.events.only and only_file list "+
				"1 to %d names; use --replica, which reads /delivered.json", consumer.MaxDeliveredNames)
		}
		return verify.Prometheus(ctx, flags.prometheus, cfg.Kafka.Group, hours)
	}
	if report.Replicas, err = verify.Replicas(ctx, flags.replicas); err != nil {
		return d, err
	}
	for _, r := range report.Replicas {
		if r.Group != cfg.Kafka.Group {
			return d, fmt.Errorf("replica %s: belongs to group %s, but kafka.group is %s",
				r.Replica, r.Group, cfg.Kafka.Group)
		}
		if own := app.EnvironmentOf(cfg); !r.Environment.Matches(own) {
			return d, fmt.Errorf("replica %s: delivers to another LaunchDarkly environment (%s) than this "+
				"configuration (%s)", r.Replica, r.Environment, own)
		}
	}
	return verify.FromReplicas(report.Replicas, hours, time.Now()), nil
}
