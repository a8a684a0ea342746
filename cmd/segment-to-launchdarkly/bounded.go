package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// runApp runs the program until it ends on its own or is stopped, and returns a summary. If the run
// ends on its own and standard error is a terminal, runApp shows the progress as a bar.
func runApp(sys system, cfg *config.Config, options app.Options) (app.Summary, error) {
	out := sys.stderr
	if !options.Until.IsZero() && isTerminal(sys.stderr) {
		progress := &bar{terminal: sys.stderr, columns: func() int { return columns(sys.stderr) }}
		defer progress.remove()
		out, options.Progress = progress, progress.show
	}
	log := newLogger(cfg.Log, out)
	for _, w := range cfg.Warnings() {
		log.Warn("configuration key has no effect or is probably wrong", zap.String("key", w.Key),
			zap.String("rule", w.Rule), zap.String("origin", w.Origin))
	}
	app.LimitMemory(cfg)
	ctx, stop := signalContext(log)
	defer stop()
	var summary app.Summary
	a, err := app.New(cfg, log, options)
	if err == nil {
		err = a.Run(ctx)
		summary = a.Summary(err)
	}
	if err != nil {
		log.Error("run failed", zap.Error(err))
		return summary, errReported
	}
	return summary, nil
}

// fetchCommitted returns the committed offsets of a group, which need not exist.
func fetchCommitted(ctx context.Context, client *kgo.Client, group string) (kadm.OffsetResponses, error) {
	committed, err := kadm.NewClient(client).FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("fetch the committed offsets of group %s: %w", group, err)
	}
	return committed, nil
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// printSummary prints a summary as one line of JSON.
func printSummary(w io.Writer, summary any) error {
	line, err := json.Marshal(summary)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return outputFailure(err)
}

// parseTime parses the value of a flag.
func parseTime(flag, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("--%s: must be a time such as 2026-01-31T00:00:00Z, got %s", flag, text)
	}
	return t, nil
}
