package main

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

const sample = `{"type":"track","event":"Order Completed","userId":"u1","timestamp":"2020-06-19T17:39:30.692Z",` +
	`"properties":{"value":99.84,"big":12345678901234567890}}
{"type":"page","userId":"u1"}

{"type":"track","event":"x","anonymousId":"a1"}
[{"type":"track","event":"y","userId":"u2","timestamp":1592588370692},{"type":"identify"},` +
	`{"type":"track","event":"z"},{"type":"track","event":"w","userId":"u4","timestamp":1592588370692}]
{"type":"track","event":"<&>\u00e9","userId":"u3","timestamp":"2020-06-19","integrations":{"All":false}}
not JSON
  	
{"batch":[]}
`

const sampleOut = `{"line":1,"outcome":"event","event":{"kind":"custom","key":"Order Completed","userKey":"u1",` +
	`"creationDate":1592588370692,"metricValue":99.84,"data":{"value":99.84,"big":12345678901234567890}}}
{"line":2,"outcome":"filtered","reason":"not_track"}
{"line":4,"outcome":"event","event":{"kind":"custom","key":"x","userKey":"a1","creationDate":1769817600000,"data":{}}}
{"line":5,"outcome":"event","event":{"kind":"custom","key":"y","userKey":"u2","creationDate":1592588370692,"data":{}}}
{"line":5,"outcome":"filtered","reason":"not_track"}
{"line":5,"outcome":"rejected","reason":"no_user_key","detail":"DETAIL"}
{"line":5,"outcome":"event","event":{"kind":"custom","key":"w","userKey":"u4","creationDate":1592588370692,"data":{}}}
{"line":6,"outcome":"filtered","reason":"integrations"}
{"line":7,"outcome":"rejected","reason":"malformed","detail":"DETAIL"}
{"line":9,"outcome":"filtered","reason":"no_calls"}
`

func TestTransformPrintsOneLinePerCall(t *testing.T) {
	for name, in := range map[string]string{
		"LF": sample, "CRLF": strings.ReplaceAll(sample, "\n", "\r\n"),
		"no last newline": strings.TrimSuffix(sample, "\n"),
	} {
		out, stderr, code := run(system{stdin: strings.NewReader(in)}, "transform", "--timestamp", "2026-01-31T00:00:00Z")
		if code != 0 || stderr != "" {
			t.Errorf("%s: exit %d, %s", name, code, stderr)
		}
		if got := detail.ReplaceAllString(out, `"detail":"DETAIL"}`); got != sampleOut {
			t.Errorf("%s:\n%s want\n%s", name, got, sampleOut)
		}
	}
}

var detail = regexp.MustCompile(`"detail":".+"}`) // the transform package defines the text

func TestTransformUsesTheConfiguration(t *testing.T) {
	path := writeFile(t, "config.yaml", "launchdarkly:\n"+
		"  event_schema: 4\n"+
		"  contexts: {account: [context.groupId]}\n"+
		"  metric_value: [properties.revenue]\n")
	in := `{"type":"track","event":"x","context":{"groupId":"g"},"timestamp":1592588370692,` +
		`"properties":{"revenue":"7"},"integrations":{"Mine":false}}`
	sys := system{stdin: strings.NewReader(in), environ: []string{"S2LD_SEGMENT_HONOR_INTEGRATIONS=false"}}
	out, stderr, code := run(sys, "transform", "--config", path)
	want := `{"line":1,"outcome":"event","event":{"kind":"custom","key":"x","contextKeys":{"account":"g"},` +
		`"creationDate":1592588370692,"metricValue":7,"data":{"revenue":"7"}}}` + "\n"
	if code != 0 || out != want {
		t.Errorf("exit %d, %s%s want %s", code, stderr, out, want)
	}
}

func TestTransformShowsWhichFilterRemovesACall(t *testing.T) {
	path := writeFile(t, "config.yaml", `segment:
  consent: {categories: [ads], missing: send}
  only: [{field: projectId, in: [p]}, {topic: t}, {header: source, not_in: [ios]}]
  events: {except: [B]}
  require: [userId]
  max_age: 1h
launchdarkly:
  data: {except: [secret]}
`)
	const call = `{"type":"track","event":"A","userId":"u","projectId":"p","timestamp":1592588370692,` +
		`"properties":{"secret":1,"plan":"x"}}`
	in := call + "\n" +
		strings.Replace(call, `"type"`, `"context":{"consent":{"categoryPreferences":{}}},"type"`, 1) + "\n" +
		strings.Replace(call, `"p"`, `"q"`, 1) + "\n" +
		strings.Replace(call, `"A"`, `"B"`, 1) + "\n" +
		strings.Replace(call, `"userId"`, `"anonymousId"`, 1) + "\n" +
		strings.Replace(call, "1592588370692", "1592580000000", 1) + "\n"
	other := "not_selected consent" + strings.Repeat(" not_selected", 4)
	for flags, want := range map[string]string{
		"--topic t":                         `data":{"plan":"x"}}} consent not_selected event anonymous too_old`,
		"--topic t --header source=web,a=b": `data":{"plan":"x"}}} consent not_selected event anonymous too_old`,
		"--topic t --header source=ios":     other,
		"--topic u":                         other,
	} {
		args := append([]string{"transform", "--config", path, "--timestamp", "2020-06-19T17:40:00Z"},
			strings.Fields(flags)...)
		out, stderr, code := run(system{stdin: strings.NewReader(in)}, args...)
		var got []string
		for line := range strings.Lines(out) {
			_, reason, filtered := strings.Cut(line, `"reason":"`)
			if !filtered {
				_, reason, _ = strings.Cut(line, `"creationDate":1592588370692,"`)
			}
			got = append(got, strings.TrimSuffix(strings.TrimSpace(reason), `"}`))
		}
		if code != 0 || strings.Join(got, " ") != want {
			t.Errorf("%s: exit %d, %s%s want %s", flags, code, stderr, got, want)
		}
	}
}

func TestTransformUsesTheCurrentTimeForCallsWithoutOne(t *testing.T) {
	before := time.Now().UnixMilli()
	out, _, _ := run(system{stdin: strings.NewReader(`{"type":"track","event":"x","userId":"u"}`)}, "transform")
	_, after, _ := strings.Cut(out, `"creationDate":`)
	digits, _, _ := strings.Cut(after, ",")
	var ms int64
	for _, d := range digits {
		ms = ms*10 + int64(d-'0')
	}
	if ms < before || ms > time.Now().UnixMilli() {
		t.Errorf("creationDate %d, started at %d: %s", ms, before, out)
	}
}

func TestTransformFlushesOutputWhileInputPauses(t *testing.T) {
	stdin, feed := io.Pipe()
	read, stdout := io.Pipe()
	done := make(chan int)
	go func() {
		code := execute([]string{"transform"}, system{stdin: stdin, stdout: stdout, stderr: io.Discard})
		stdout.Close()
		done <- code
	}()
	lines := bufio.NewScanner(read)
	for range 3 { // each output line is read before the next input line is written
		if _, err := io.WriteString(feed, `{"type":"page"}`+"\n"+`{"type":"tr`); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), "not_track") {
			t.Fatalf("%q, %v", lines.Text(), lines.Err())
		}
		if _, err := io.WriteString(feed, `ack"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), "no_event_name") {
			t.Fatalf("%q, %v", lines.Text(), lines.Err())
		}
	}
	feed.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestTransformReportsTheLineThatIsTooLong(t *testing.T) {
	fits := `{"type":"page","x":"` + strings.Repeat("x", maxLine-100) + `"}` + "\n"
	in := io.MultiReader(strings.NewReader(fits+"\n"), strings.NewReader(strings.Repeat("x", maxLine+1)))
	out, stderr, code := run(system{stdin: in}, "transform")
	if code != exitFailure || stderr != name+": line 3: longer than 16777216 bytes\n" {
		t.Errorf("exit %d, %q", code, stderr)
	}
	if out != `{"line":1,"outcome":"filtered","reason":"not_track"}`+"\n" {
		t.Errorf("%q: want the output for the previous lines", out)
	}
}

type brokenPipe struct{ after int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

func TestTransformFailsIfOutputCannotBeWritten(t *testing.T) {
	for _, after := range []int{0, 100 << 10} {
		var stderr strings.Builder
		in := strings.NewReader(strings.Repeat(`{"type":"page"}`+"\n", 10000))
		sys := system{stdin: in, stdout: &brokenPipe{after}, stderr: &stderr}
		code := execute([]string{"transform"}, sys)
		if code != exitFailure || !strings.Contains(stderr.String(), "broken pipe") {
			t.Errorf("after %d bytes: exit %d, %q", after, code, stderr.String())
		}
	}
}
