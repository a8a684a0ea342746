package ldtest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestPayloadIDIsProcessedOnce(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	body := "[" + event3 + "," + event3 + "]"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := status(t, bulk(t, url, strings.ToUpper(id1), body)); got != 202 {
				t.Errorf("status %d", got)
			}
		})
	}
	wg.Wait()
	if got := status(t, bulk(t, url, id1, body)); got != 202 {
		t.Errorf("in lower case: status %d", got)
	}
	report := ld.Report()
	if report.Accepted != 18 || report.Processed != 2 || report.Duplicates != 8 || report.ViolationCount != 0 ||
		len(ld.Events()) != 2 {
		t.Errorf("report: %+v", report)
	}
	if seen := ld.Requests(); seen[0].Duplicate || !seen[1].Duplicate || !seen[1].Accepted {
		t.Errorf("requests: %+v", seen[:2])
	}
}

func TestOnePayloadIDWithTwoBodiesIsAlwaysAViolation(t *testing.T) {
	one, two := "["+event3+"]", "["+event3+","+event3+"]"
	for _, first := range []struct {
		name      string
		prepare   func(ld *ldtest.Server)
		processed int
	}{
		{"accepted", func(*ldtest.Server) {}, 1}, // the second is a duplicate
		{"rejected", func(ld *ldtest.Server) { ld.Script(ldtest.Fault{Status: 503}) }, 2},
		{"too large", func(ld *ldtest.Server) { ld.Limit(1) }, 2},
		{"poisoned", func(ld *ldtest.Server) { ld.Poison(ldtest.Containing("Order")) }, 2},
		{"cut off", func(ld *ldtest.Server) { ld.Script(ldtest.Fault{Kind: ldtest.CutOff}) }, 2},
		{"accepted and cut off", func(ld *ldtest.Server) { ld.Script(ldtest.Fault{Kind: ldtest.CutOff, Accepted: true}) }, 1},
	} {
		ld, url := serve(t, ldtest.Config{})
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		first.prepare(ld)
		view(client, bulk(t, url, id1, one))
		ld.Limit(0)
		ld.Poison(nil)
		if got := view(client, bulk(t, url, id1, two)); got != "202" {
			t.Errorf("%s: %s", first.name, got)
		}
		report := ld.Report()
		if report.ViolationCount != 1 || report.Violations[0] != (ldtest.Violation{Rule: ldtest.TwoBodies, PayloadID: id1}) ||
			report.Processed != first.processed {
			t.Errorf("%s: %+v", first.name, report)
		}
		if len(ld.Events()) != first.processed {
			t.Errorf("%s: %d events counted, want %d", first.name, len(ld.Events()), first.processed)
		}
	}
}

func TestCompressedAndPlainBodiesAreTheSame(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	body := "[" + event3 + "]"
	status(t, bulk(t, url, id1, body))
	r := bulk(t, url, id1, zip(body))
	r.Header.Set("Content-Encoding", "gzip")
	status(t, r)
	if report := ld.Report(); report.ViolationCount != 0 || report.Duplicates != 1 {
		t.Errorf("report: %+v", report)
	}
	if seen := ld.Requests()[1]; seen.Hash != sha256.Sum256([]byte(body)) || string(seen.Body) != body ||
		seen.Bytes != len(body) {
		t.Errorf("recorded as %+v", seen)
	}
}

func TestRequestIsRecordedBeforeTheResponse(t *testing.T) {
	var hooked []ldtest.Request // accesses are ordered by the response
	ld, url := serve(t, ldtest.Config{
		Identity:  ldtest.DataField("n"),
		OnRequest: func(r ldtest.Request) { hooked = append(hooked, r) },
	})
	ld.Script(ldtest.Fault{Status: 500, Accepted: true}, ldtest.Fault{Status: 500})
	for i := range 3 {
		status(t, bulk(t, url, uuid.NewString(),
			fmt.Sprintf("[%s,%s]", event3, strings.Replace(event3, `"n":1`, fmt.Sprintf(`"n":"e%d"`, i), 1))))
		if len(hooked) != i+1 {
			t.Fatalf("response %d arrived before its record", i)
		}
		if want := []string{"1", fmt.Sprintf("e%d", i)}; !reflect.DeepEqual(hooked[i].Identities, want) ||
			hooked[i].Events != 2 {
			t.Errorf("identities %q, want %q", hooked[i].Identities, want)
		}
	}
	if !hooked[0].Accepted || hooked[1].Accepted || !hooked[2].Accepted || hooked[0].Status != 500 ||
		hooked[2].Status != 202 {
		t.Errorf("passed to OnRequest: %+v", hooked)
	}
	if !reflect.DeepEqual(hooked, ld.Requests()) {
		t.Error("OnRequest and Requests differ")
	}
}

func TestJournalHoldsEveryRequestWithoutHeaderAndBody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.ndjson")
	var want []ldtest.Request
	for range 2 { // a second process appends
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		ld, url := serve(t, ldtest.Config{Journal: file, Identity: ldtest.DataField("n")})
		ld.Script(ldtest.Fault{Status: 429, RetryAfter: "1"}, ldtest.Fault{Kind: ldtest.Reset, Accepted: true},
			ldtest.Fault{})
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for range 4 {
			view(client, bulk(t, url, id1, "["+event3+"]"))
		}
		view(client, bulk(t, url, "", "nonsense"))
		view(client, bulk(t, url, uuid.NewString(), "["+event4+"]"))
		for _, r := range ld.Requests() {
			r.Header, r.Body, r.Time = nil, nil, r.Time.Round(0)
			want = append(want, r)
		}
		file.Close()
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(`{"time":"2026-01-01T00:0`); err != nil { // killed while writing
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var got []ldtest.Request
	for r, err := range ldtest.ReadJournal(file) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != 12 {
		t.Fatalf("%d requests read, want 12", len(got))
	}
	for i := range got {
		if !got[i].Time.Equal(want[i].Time) {
			t.Errorf("request %d: time %v, want %v", i, got[i].Time, want[i].Time)
		}
		got[i].Time = want[i].Time
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("request %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestCorruptJournalIsAnError(t *testing.T) {
	const valid = `{"status":202}` + "\n"
	for _, damaged := range []string{"{\n", "[]\n", `{"hash":"12"}` + "\n", `{"fault":"nonsense"}` + "\n"} {
		var last error
		n := 0
		for _, err := range ldtest.ReadJournal(strings.NewReader(valid + damaged + valid)) {
			last, n = err, n+1
		}
		if last == nil || !strings.Contains(last.Error(), "line 2") || n != 2 {
			t.Errorf("%q: %d requests, %v", damaged, n, last)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestFailedJournalWriteIsReported(t *testing.T) {
	ld, url := serve(t, ldtest.Config{Journal: failingWriter{}})
	status(t, bulk(t, url, id1, "["+event3+"]"))
	if report := ld.Report(); report.ViolationCount != 1 || report.Violations[0].Rule != ldtest.JournalFailed {
		t.Errorf("report: %+v", report)
	}
}

func TestWithoutRetainNoRequestIsKept(t *testing.T) {
	ld := ldtest.New(ldtest.Config{})
	pipe := ldtest.NewPipe()
	srv := &http.Server{Handler: ld}
	done := make(chan error)
	go func() { done <- srv.Serve(pipe) }()
	client := &http.Client{Transport: &http.Transport{DialContext: pipe.DialContext}}
	if got := view(client, bulk(t, "http://ld", id1, "["+event3+"]")); got != "202" {
		t.Error(got)
	}
	srv.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if ld.Report().Processed != 1 || len(ld.Requests()) != 0 || len(ld.Events()) != 0 {
		t.Errorf("kept %d requests, %d events", len(ld.Requests()), len(ld.Events()))
	}
}

func TestReportListsAtMostAHundredAndCountsAll(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	bad := strings.Replace(event3, `"u"`, `7`, 1)
	for range 120 {
		status(t, bulk(t, url, "", "["+bad+"]"))
	}
	report := ld.Report()
	if report.ViolationCount != 120 || report.Dropped != 120 || len(report.Violations) != 100 || len(report.Drops) != 100 {
		t.Errorf("%d of %d violations, %d of %d drops", len(report.Violations), report.ViolationCount, len(report.Drops),
			report.Dropped)
	}
}

func TestWaitReturnsWhenEnoughEventsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ld, client := bubble(t)
		go func() {
			for range 3 {
				time.Sleep(time.Hour)
				view(client, bulk(t, "http://ld", uuid.NewString(), "["+event3+"]"))
			}
		}()
		start := time.Now()
		if err := ld.Wait(t.Context(), 2); err != nil || time.Since(start) != 2*time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		if err := ld.Wait(ctx, 4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for too many events: %v", err)
		}
	})
}
