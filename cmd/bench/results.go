package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
)

// results holds the results of a measurement, in the format written by -json.
type results struct {
	Machine struct {
		CPUs int    `json:"cpus"`
		Go   string `json:"go"`
	} `json:"machine"`
	Work struct {
		Records     int     `json:"records"`
		Events      int64   `json:"events"` // events that must be delivered
		RecordBytes float64 `json:"record_bytes"`
		Broker      string  `json:"broker"`
		Codec       string  `json:"codec"`
		BatchBytes  int     `json:"producer_batch_bytes"`
	} `json:"work"`
	Idle   map[string]float64 `json:"idle_cpu_seconds"` // by contender
	Rounds []round            `json:"rounds"`
	Median round              `json:"median"`
	Parts  *parts             `json:"parts,omitempty"`  // with -all
	Memory []peakMemory       `json:"memory,omitempty"` // with -all
	Rates  []rateFigures      `json:"rates,omitempty"`  // with -all

	contenders []contender
	idle       map[string]usage
}

// round maps contender names to their figures in one round.
type round map[string]*figures

// figures holds the measurements of one run. CPU, allocations, and garbage collections exclude
// those of the idle run.
type figures struct {
	CPU      float64 `json:"cpu_microseconds_per_record"`
	Ratio    float64 `json:"ratio_to_floor"`
	Records  float64 `json:"records_per_second"`
	Requests float64 `json:"requests"`
	PeakMB   float64 `json:"peak_megabytes"`
	Allocs   float64 `json:"allocations_per_thousand_records"`
	AllocKB  float64 `json:"allocated_kilobytes_per_thousand_records"`
	GCs      float64 `json:"collections_per_thousand_records"`
	Lost     float64 `json:"lost"`
}

// columns lists the figures in table order.
var columns = []struct {
	name   string
	format string
	of     func(*figures) *float64
}{
	{"CPU µs/record", "%.2f", func(f *figures) *float64 { return &f.CPU }},
	{"to floor", "%.2f", func(f *figures) *float64 { return &f.Ratio }},
	{"records/s", "%.0f", func(f *figures) *float64 { return &f.Records }},
	{"requests", "%.0f", func(f *figures) *float64 { return &f.Requests }},
	{"peak MB", "%.1f", func(f *figures) *float64 { return &f.PeakMB }},
	{"allocs/1000", "%.0f", func(f *figures) *float64 { return &f.Allocs }},
	{"alloc KB/1000", "%.0f", func(f *figures) *float64 { return &f.AllocKB }},
	{"GCs/1000", "%.3f", func(f *figures) *float64 { return &f.GCs }},
	{"lost", "%.0f", func(f *figures) *float64 { return &f.Lost }},
}

func newResults(o *options, contenders []contender, t *topic) *results {
	r := &results{contenders: contenders, idle: map[string]usage{}, Idle: map[string]float64{}, Median: round{}}
	r.Machine.CPUs, r.Machine.Go = runtime.NumCPU(), runtime.Version()
	w := &r.Work
	w.Records, w.Events, w.RecordBytes = t.records, t.expected.Events, float64(t.valueBytes)/float64(t.records)
	w.Broker, w.Codec, w.BatchBytes = "embedded Kafka", o.codec, o.batchBytes
	if o.apache {
		w.Broker = "Apache Kafka"
	}
	return r
}

// addIdle adds the result of a contender's idle run.
func (r *results) addIdle(c contender, x result) {
	r.idle[c.name], r.Idle[c.name] = x.usage, x.CPU.Seconds()
}

// add adds one round's results, keyed by contender name, and updates the medians.
func (r *results) add(results map[string]result) {
	now := round{}
	for _, c := range r.contenders {
		now[c.name] = r.figures(results[c.name], r.idle[c.name])
		now[c.name].Ratio = now[c.name].CPU / now[roleFloor].CPU
	}
	r.Rounds = append(r.Rounds, now)
	for _, c := range r.contenders {
		r.Median[c.name] = &figures{}
		for _, column := range columns {
			var all []float64
			for _, round := range r.Rounds {
				all = append(all, *column.of(round[c.name]))
			}
			*column.of(r.Median[c.name]) = median(all)
		}
	}
}

func (r *results) figures(x result, idle usage) *figures {
	n := float64(r.Work.Records)
	minus := func(a, b uint64) float64 { return float64(a) - float64(b) }
	return &figures{
		CPU:      (x.CPU - idle.CPU).Seconds() * 1e6 / n,
		Records:  x.perSecond,
		Requests: float64(x.Requests),
		PeakMB:   float64(x.Peak) / 1e6,
		Allocs:   minus(x.Allocs, idle.Allocs) / n * 1000,
		AllocKB:  minus(x.AllocBytes, idle.AllocBytes) / n,
		GCs:      minus(x.GCs, idle.GCs) / n * 1000,
		Lost:     float64(x.lost),
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// table writes the results as a table.
func (r *results) table(w io.Writer) error {
	r.describe(w)
	fmt.Fprint(w, "Idle CPU time, already subtracted:")
	for i, c := range r.contenders {
		fmt.Fprintf(w, "%s%s %.0f ms", [2]string{" ", ", "}[min(i, 1)], c.name, r.Idle[c.name]*1e3)
	}
	fmt.Fprint(w, "\n\n")

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "round\trole\t")
	for _, c := range columns {
		fmt.Fprint(t, c.name+"\t")
	}
	rows := func(name string, figures round) {
		for _, c := range r.contenders {
			fmt.Fprintf(t, "\n%s\t%s\t", name, c.name)
			for _, column := range columns {
				fmt.Fprintf(t, column.format+"\t", *column.of(figures[c.name]))
			}
		}
	}
	for i, figures := range r.Rounds {
		rows(fmt.Sprint(i+1), figures)
	}
	rows("median", r.Median)
	fmt.Fprintln(t)
	return t.Flush()
}

// describe writes what was measured, on what.
func (r *results) describe(w io.Writer) {
	fmt.Fprintf(w, "%d records of %.0f bytes (%s, producer batches of at most %d bytes), %d events, %d partitions, "+
		"%s, %d CPUs, %s\n", r.Work.Records, r.Work.RecordBytes, r.Work.Codec, r.Work.BatchBytes, r.Work.Events,
		partitions, r.Work.Broker, r.Machine.CPUs, r.Machine.Go)
}

// markdown writes the results of -all as Markdown tables. All figures are medians of the rounds.
func (r *results) markdown(w io.Writer) {
	r.describe(w)
	fmt.Fprintf(w, "Medians of %d rounds.\n", len(r.Rounds))
	out := func(format string, a ...any) { fmt.Fprintf(w, format+"\n", a...) }
	out("\n| | CPU per record | ratio to the floor | records per second | peak memory |\n|---|---|---|---|---|")
	for _, c := range r.contenders {
		f := r.Median[c.name]
		out("| %s | %.2f µs | %.2f | %.0f | %.0f MB |", c.name, f.CPU, f.Ratio, f.Records, f.PeakMB)
	}
	p := r.Parts
	total := p.Fetch + p.Mapping + p.Gzip + p.Own
	out("\n| part of the CPU time | per record | share |\n|---|---|---|")
	for _, part := range []struct {
		name string
		cpu  float64
	}{{"fetch (the floor)", p.Fetch}, {"mapping", p.Mapping}, {"gzip", p.Gzip}, {"everything else", p.Own}} {
		out("| %s | %.2f µs | %.0f%% |", part.name, part.cpu, 100*part.cpu/total)
	}
	out("\n| records per second | CPU per second | latency p50 | p99 | max |\n|---|---|---|---|---|")
	for _, f := range r.Rates {
		out("| %s%d | %.1f ms | %.2f s | %.2f s | %.2f s |", label(f.Name), f.Rate, f.CPU, f.P50, f.P99, f.Longest)
	}
	out("\n| partitions | records | peak memory |\n|---|---|---|")
	for _, m := range r.Memory {
		for _, c := range r.contenders[1:] {
			out("| %s%d | %d | %.0f MB |", label(c.name), m.Partitions, m.Records, m.PeakMB[c.name])
		}
	}
}

// label returns the prefix of a contender's rows. The forwarder's rows have none.
func label(name string) string {
	if name == roleForwarder {
		return ""
	}
	return name + ": "
}

// lost returns an error if any round lost events or records.
func (r *results) lost() (err error) {
	for i, round := range r.Rounds {
		for name, figures := range round {
			if figures.Lost > 0 {
				err = errors.Join(err, fmt.Errorf("round %d: the %s lost %.0f events or records",
					i+1, name, figures.Lost))
			}
		}
	}
	return err
}
