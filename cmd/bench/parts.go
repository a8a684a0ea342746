package main

import (
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// parts holds the CPU time per record of the parts of the forwarder's work, in microseconds. Each
// figure is a median over the rounds.
type parts struct {
	Fetch   float64 `json:"fetch_microseconds_per_record"`   // the floor
	Mapping float64 `json:"mapping_microseconds_per_record"` // mapping, including rendering the events
	Gzip    float64 `json:"gzip_microseconds_per_record"`    // sealing and compressing the request bodies
	Own     float64 `json:"own_microseconds_per_record"`     // everything else that the forwarder does
	Share   float64 `json:"own_share"`                       // Own as a share of the forwarder's CPU time
}

// mapped is the CPU time that the mapper needs for all records.
type mapped struct {
	Mapping time.Duration
	Sealing time.Duration // Mapping, plus sealing and compressing the request bodies
}

// mapper measures the mapping and gzip alone.
func (b *bench) mapper() (m mapped, err error) {
	c, err := b.start(b.self, roleMapper, b.settings, "-records", strconv.Itoa(b.records))
	if err != nil {
		return m, err
	}
	defer c.stop()
	return m, c.ask("measure", &m)
}

// addParts sets the parts of the forwarder's CPU time. all holds the mapper's result in each round.
func (r *results) addParts(all []mapped) {
	medianOf := func(of func(f, floor, mapping, sealing float64) float64) float64 {
		var values []float64
		for i, m := range all {
			perRecord := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(r.Work.Records) }
			values = append(values, of(r.Rounds[i][roleForwarder].CPU, r.Rounds[i][roleFloor].CPU,
				perRecord(m.Mapping), perRecord(m.Sealing)))
		}
		return median(values)
	}
	r.Parts = &parts{
		Fetch:   medianOf(func(_, floor, _, _ float64) float64 { return floor }),
		Mapping: medianOf(func(_, _, mapping, _ float64) float64 { return mapping }),
		Gzip:    medianOf(func(_, _, mapping, sealing float64) float64 { return sealing - mapping }),
		Own:     medianOf(func(f, floor, _, sealing float64) float64 { return f - floor - sealing }),
		Share:   medianOf(func(f, floor, _, sealing float64) float64 { return (f - floor - sealing) / f }),
	}
}

// mapperRecords is the number of different records that the mapper repeats.
const mapperRecords = 20_000

// runMapper maps o.records records from memory, and seals request bodies as the forwarder does. It
// keeps all CPUs busy, because processes that share CPUs slow each other down, as the broker, the
// receiver, and the forwarder do.
func runMapper(o *options, stdin io.Reader, stdout io.Writer) error {
	cfg, err := config.Load("", os.Environ())
	if err != nil {
		return err
	}
	mapping, err := transform.Compile(cfg.Mapping())
	if err != nil {
		return err
	}
	g := segmenttest.New(1)
	var records [][]byte
	for n := range min(o.records, mapperRecords) {
		value, _ := g.Record(int64(n))
		records = append(records, slices.Clone(value))
	}
	mapSome := func(first int, seal func(*sink.Buffer)) {
		t := mapping.NewTransformer()
		buffer := sink.NewBuffer(cfg.Batch.MaxEvents, int(cfg.Batch.MaxBytes))
		var calls []transform.Call
		for n := first; n < o.records; n += runtime.NumCPU() {
			body := buffer.Bytes()
			body, calls = t.Append(body, calls[:0], transform.Record{Value: records[n%len(records)], Timestamp: 1})
			events := 0
			for i := range calls {
				if calls[i].Reason == transform.None {
					events++
				}
			}
			buffer.Extend(body, events, int64(n), time.Time{})
			if buffer.Full() {
				seal(buffer)
			}
		}
		buffer.Reset()
	}
	mapAll := func(seal func(*sink.Buffer)) time.Duration {
		start := cpuTime()
		var mappers sync.WaitGroup
		for first := range runtime.NumCPU() {
			mappers.Go(func() { mapSome(first, seal) })
		}
		mappers.Wait()
		return cpuTime() - start
	}
	return obey(stdin, stdout, map[string]func() (any, error){
		"measure": func() (any, error) {
			reset := (*sink.Buffer).Reset
			mapAll(reset) // warm up
			return mapped{
				Mapping: mapAll(reset),
				Sealing: mapAll(func(b *sink.Buffer) { b.Seal(sink.Source{}, 0, 0, 1, cfg.Batch.Gzip) }),
			}, nil
		},
	})
}

// cpuTime returns this process's user and system time.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
