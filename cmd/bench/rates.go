package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// rateFigures holds a contender's figures at a constant rate. Latency is the time from producing a
// record to the 2xx response for its event.
type rateFigures struct {
	Rate    int     `json:"records_per_second"`
	Name    string  `json:"contender"`
	CPU     float64 `json:"cpu_milliseconds_per_second"`
	P50     float64 `json:"latency_p50_seconds"`
	P99     float64 `json:"latency_p99_seconds"`
	Longest float64 `json:"latency_max_seconds"`
}

const (
	rateWarmup = 5 * time.Second  // time at the rate before measuring
	rateTime   = 20 * time.Second // time at the rate while measuring
)

// rates measures the contenders at constant rates, and returns the median of each figure.
func (b *bench) rates() (all []rateFigures, err error) {
	for _, rate := range []int{100, 1_000, 20_000} {
		rounds := map[string][]rateFigures{}
		for round := range b.rounds {
			b.say("%d records per second, round %d of %d", rate, round+1, b.rounds)
			for _, c := range b.contenders[1:] { // without the floor
				f, err := b.rate(c, rate, fmt.Sprintf("rate-%d-%d", rate, round))
				if err != nil {
					return nil, err
				}
				rounds[c.name] = append(rounds[c.name], f)
			}
		}
		for _, c := range b.contenders[1:] {
			medianOf := func(of func(rateFigures) float64) float64 {
				var values []float64
				for _, f := range rounds[c.name] {
					values = append(values, of(f))
				}
				return median(values)
			}
			all = append(all, rateFigures{
				Rate: rate, Name: c.name,
				CPU:     medianOf(func(f rateFigures) float64 { return f.CPU }),
				P50:     medianOf(func(f rateFigures) float64 { return f.P50 }),
				P99:     medianOf(func(f rateFigures) float64 { return f.P99 }),
				Longest: medianOf(func(f rateFigures) float64 { return f.Longest }),
			})
		}
	}
	return all, nil
}

// rate runs a contender while records are produced at a constant rate.
func (b *bench) rate(x contender, rate int, run string) (f rateFigures, err error) {
	t, err := b.produce(fmt.Sprintf("bench-%s-%s", x.name, run), partitions, 0)
	if err != nil {
		return f, err
	}
	c, err := b.startMember(x.binary, roleForwarder, t, group(x, run))
	if err != nil {
		return f, err
	}
	if err := b.awaitJoined(group(x, run), t); err != nil {
		return f, err
	}
	var before, after time.Duration
	if _, err := b.pace(t, rate, 0, rateWarmup); err != nil {
		return f, err
	}
	if err := c.ask("cpu", &before); err != nil {
		return f, err
	}
	first := t.records
	start := time.Now()
	produced, err := b.pace(t, rate, first, rateTime)
	if err != nil {
		return f, err
	}
	if err := c.ask("cpu", &after); err != nil {
		return f, err
	}
	f.CPU = (after - before).Seconds() * 1e3 / time.Since(start).Seconds()
	if err := b.awaitSent(c, t); err != nil {
		return f, err
	}
	if err := c.ask("end", nil); err != nil {
		return f, err
	}
	c.stop()
	var arrivals []arrival
	if err := b.receiver.ask("arrivals", &arrivals); err != nil {
		return f, err
	}
	uncommitted, err := b.uncommitted(group(x, run), t)
	if err != nil {
		return f, err
	}
	if int64(len(arrivals)) != t.expected.Events || uncommitted > 0 {
		return f, fmt.Errorf("%s, %d records per second: %d of %d events arrived, %d records not committed",
			x.name, rate, len(arrivals), t.expected.Events, uncommitted)
	}
	// Events that the stop delivered before their batch was due do not count.
	var latencies []float64
	last := first + len(produced) - int(float64(rate)*drained.Seconds())
	for _, a := range arrivals {
		if n, _ := segmenttest.CallOf(a.Number); first <= int(n) && int(n) < last {
			latencies = append(latencies, a.At.Sub(produced[int(n)-first]).Seconds())
		}
	}
	slices.Sort(latencies)
	at := func(share float64) float64 { return latencies[int(share*float64(len(latencies)-1))] }
	f.P50, f.P99, f.Longest = at(0.5), at(0.99), at(1)
	return f, nil
}

// drained is how long before the end of production a record's latency no longer counts, because
// stopping the forwarder might have delivered its event early. It exceeds batch.max_age.
const drained = 7 * time.Second

// pace produces records first, first+1, ... at a constant rate for a duration, one at a time, and
// returns when each was produced.
func (b *bench) pace(t *topic, rate, first int, duration time.Duration) (produced []time.Time, err error) {
	client, err := b.producer(t)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	g := segmenttest.New(1)
	start := time.Now()
	for n := range int(float64(rate) * duration.Seconds()) {
		if wait := time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(rate))); wait > 0 {
			time.Sleep(wait)
		}
		r := t.next(g, first+n)
		produced = append(produced, time.Now())
		client.Produce(b.ctx, r, nil)
	}
	t.records += len(produced)
	return produced, client.Flush(context.WithoutCancel(b.ctx))
}
