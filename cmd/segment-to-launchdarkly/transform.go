package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// maxLine is the length of the longest line that transform reads: well above what Kafka takes as one record.
const maxLine = 16 << 20

func newTransform(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transform",
		Short: "Show what becomes of Segment calls, without Kafka or LaunchDarkly",
		Long: `Reads Segment calls on standard input, one JSON document a line, and writes what would
become of them, one line for each call and in order:

  {"line":1,"outcome":"event","event":{...}}
  {"line":2,"outcome":"filtered","reason":"not_track"}
  {"line":3,"outcome":"rejected","reason":"malformed","detail":"..."}

A line is one record of a topic: a call, an array of calls, or an object with a batch.
Blank lines are left out, but counted. Nothing else of the configuration is needed than
segment, launchdarkly and batch.max_bytes, and their defaults do. The exit code is 0
whatever the outcomes are.`,
		Example: `  head -1000 events.ndjson | ` + name + ` transform
  kcat -C -e -t segment -b localhost:9092 | ` + name + ` transform --config config.yaml
  ` + name + ` transform < events.ndjson | jq -r '.reason // .outcome' | sort | uniq -c`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	at := cmd.Flags().String("timestamp", "", "time of the records, RFC 3339, for calls that hold none (default the time of the start)")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.LoadFor(config.DryRun, *path, sys.environ)
		if err != nil {
			return err
		}
		timestamp := time.Now()
		if *at != "" {
			if timestamp, err = time.Parse(time.RFC3339, *at); err != nil {
				return fmt.Errorf("--timestamp %s: must be a time such as 2026-01-31T00:00:00Z", *at)
			}
		}
		mapping, err := transform.Compile(cfg.Mapping())
		if err != nil {
			return err
		}
		if err := dryRun(sys.stdin, sys.stdout, mapping, timestamp.UnixMilli()); err != nil {
			return failure{err}
		}
		return nil
	}
	return cmd
}

// dryRun maps each line of in. What it has written is flushed before each read that may wait.
func dryRun(in io.Reader, out io.Writer, mapping *transform.Mapping, timestamp int64) error {
	w := bufio.NewWriterSize(out, 64<<10)
	lines := bufio.NewScanner(flushingReader{in, w})
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var (
		t      = mapping.NewTransformer()
		line   int
		events []byte
		calls  []transform.Call
		row    []byte
	)
	for lines.Scan() {
		line++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		events, calls = t.Append(events[:0], calls[:0], lines.Bytes(), timestamp)
		start := 0
		for _, call := range calls {
			row = appendCall(row[:0], line, call, events[start:call.End])
			start = call.End
			if _, err := w.Write(row); err != nil {
				return err
			}
		}
	}
	err := w.Flush()
	switch {
	case errors.Is(lines.Err(), bufio.ErrTooLong):
		return fmt.Errorf("line %d is longer than %d bytes", line+1, maxLine)
	case lines.Err() != nil:
		return lines.Err()
	}
	return err
}

// appendCall appends one line of output. event is the call's, with its comma; empty if it is none.
func appendCall(row []byte, line int, call transform.Call, event []byte) []byte {
	row = append(row, `{"line":`...)
	row = strconv.AppendInt(row, int64(line), 10)
	row = append(row, `,"outcome":"`...)
	row = append(row, call.Reason.Outcome().String()...)
	row = append(row, '"')
	if call.Reason == transform.None {
		row = append(row, `,"event":`...)
		row = append(row, event[:len(event)-1]...)
	} else {
		row = append(row, `,"reason":"`...)
		row = append(row, call.Reason.String()...)
		row = append(row, '"')
	}
	if call.Detail != "" {
		detail, _ := json.Marshal(call.Detail) // a string can always be encoded
		row = append(append(row, `,"detail":`...), detail...)
	}
	return append(row, '}', '\n')
}

// flushingReader flushes a writer before each read, so that output does not wait for input that pauses.
type flushingReader struct {
	io.Reader
	w *bufio.Writer
}

func (r flushingReader) Read(p []byte) (int, error) {
	if err := r.w.Flush(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
