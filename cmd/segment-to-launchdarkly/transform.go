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

// maxLine is the maximum length of an input line in bytes. The usual size limit for Kafka records
// is far lower.
const maxLine = 16 << 20

func newTransform(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transform",
		Short: "Show how Segment calls are mapped, without using Kafka or LaunchDarkly",
		Long: `Reads Segment calls from standard input, one JSON document per line, and prints the
outcome of each call on one line, in the order of the input:

  {"line":1,"outcome":"event","event":{...}}
  {"line":2,"outcome":"filtered","reason":"not_track"}
  {"line":3,"outcome":"rejected","reason":"malformed","detail":"..."}

Each input line is the value of one record: a call, an array of calls, an object with a
batch, or an envelope around one of these. A document that spans several lines is read as
several malformed records; to see records in Kafka, use the preview command. Blank lines are
skipped, but they count in the line numbers. Of the configuration, only segment,
launchdarkly, and batch.max_bytes are used, and all of them are optional. The exit code is 0
regardless of the outcomes.`,
		Example: `  head -1000 events.ndjson | ` + name + ` transform
  kcat -C -e -t segment -b localhost:9092 | ` + name + ` transform --config config.yaml
  ` + name + ` transform < events.ndjson | jq -r '.reason // .outcome' | sort | uniq -c`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	at := cmd.Flags().String("timestamp", "",
		"record timestamp (RFC 3339), used for calls without a valid time and for segment.max_age (default now)")
	topic := cmd.Flags().String("topic", "", "record topic, used for conditions on the topic")
	headers := cmd.Flags().StringToString("header", nil, "record headers (name=value), used for conditions on headers")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.LoadFor(config.DryRun, *path, sys.environ)
		if err != nil {
			return err
		}
		timestamp := time.Now()
		if *at != "" {
			if timestamp, err = time.Parse(time.RFC3339, *at); err != nil {
				return fmt.Errorf("--timestamp: must be a time such as 2026-01-31T00:00:00Z, got %s", *at)
			}
		}
		mapping, err := transform.Compile(cfg.Mapping())
		if err != nil {
			return err
		}
		return outputFailure(transformLines(sys.stdin, sys.stdout, mapping, transform.Record{
			Timestamp: timestamp.UnixMilli(), Topic: *topic,
			Header: func(name string) ([]byte, bool) {
				value, ok := (*headers)[name]
				return []byte(value), ok
			},
		}))
	}
	return cmd
}

// transformLines maps each line of in as the value of a record, and writes the outcomes to out. It
// flushes the output before each read, because a read can block.
func transformLines(in io.Reader, out io.Writer, mapping *transform.Mapping, record transform.Record) error {
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
		record.Value = lines.Bytes()
		events, calls = t.Append(events[:0], calls[:0], record)
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
		return fmt.Errorf("line %d: longer than %d bytes", line+1, maxLine)
	case lines.Err() != nil:
		return lines.Err()
	}
	return err
}

// appendCall appends one output line to row. event is the call's event with its trailing comma, or
// empty if there is no event.
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
		detail, _ := json.Marshal(call.Detail) // encoding a string cannot fail
		row = append(append(row, `,"detail":`...), detail...)
	}
	return append(row, '}', '\n')
}

// flushingReader flushes a writer before each read, so that paused input does not delay output.
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
