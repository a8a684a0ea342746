package config

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// simulate seals batches of events that arrive at random (a Poisson process), for one partition. It
// returns the requests per second, the events per request, and the share of requests with a single
// event.
func simulate(b Batch, events float64) (requests, perRequest, single float64) {
	const arrivals = 1_000_000
	random := rand.New(rand.NewPCG(1, 2))
	var now, opened float64 // seconds
	var batches, singles, inBatch int
	seal := func() {
		batches++
		if inBatch == 1 {
			singles++
		}
		inBatch = 0
	}
	for range arrivals {
		now += random.ExpFloat64() / events
		if inBatch > 0 && now-opened >= b.MaxAge.Seconds() {
			seal()
		}
		if inBatch == 0 {
			opened = now
		}
		if inBatch++; inBatch == b.MaxEvents {
			seal()
		}
	}
	return float64(batches) / now, arrivals / float64(batches), float64(singles) / float64(batches)
}

// near reports whether two numbers are equal within the precision of the README's table.
func near(a, b float64) bool { return math.Abs(a-b) <= 0.03*max(a, b) }

func TestRequestRateMatchesASimulation(t *testing.T) {
	for _, b := range []Batch{
		{MaxEvents: 1000, MaxAge: 5 * time.Second}, {MaxEvents: 1, MaxAge: time.Second}, {MaxEvents: 50, MaxAge: time.Minute},
	} {
		for _, events := range []float64{0.001, 0.1, 3, 40, 5000} {
			if got, _, _ := simulate(b, events); !near(got, b.RequestRate(events)) {
				t.Errorf("%v at %v events per second: %v requests per second, want %v", b, events, got, b.RequestRate(events))
			}
		}
	}
	if got := (&Batch{MaxEvents: 1000, MaxAge: time.Second}).RequestRate(0); got != 0 {
		t.Errorf("%v requests per second without events", got)
	}
}

func TestReadmeTableOfRequestsMatchesASimulation(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n### How many requests to expect\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| ([\d.]+) \| ([\d.]+) \| (\d+)% \| ([\d.]+) \| ([\d.]+) \|$`).
		FindAllStringSubmatch(section, -1)
	if len(rows) < 5 {
		t.Fatalf("%d rows", len(rows))
	}
	const partitions = 100
	for _, row := range rows {
		var cells [5]float64
		for i := range cells {
			if cells[i], err = strconv.ParseFloat(row[i+1], 64); err != nil {
				t.Fatal(err)
			}
		}
		requests, perRequest, single := simulate(Batch{MaxEvents: 1000, MaxAge: 5 * time.Second}, cells[0])
		fewer, _, _ := simulate(Batch{MaxEvents: 1000, MaxAge: 30 * time.Second}, cells[0])
		if !near(cells[1], perRequest) || math.Abs(cells[2]-100*single) > 1 ||
			!near(cells[3], partitions*requests) || !near(cells[4], partitions*fewer) {
			t.Errorf("README: %s\nwant %s", row[0], fmt.Sprintf("| %v | %.3g | %.0f%% | %.3g | %.3g |",
				cells[0], perRequest, 100*single, partitions*requests, partitions*fewer))
		}
	}
}
