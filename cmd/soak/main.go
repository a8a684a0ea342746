//go:build linux

// Soak runs the program against Apache Kafka under random faults for a given time and prints a
// report. A soak consists of turns, which alternate between the classic and the consumer protocol
// by default. Each turn has its own topics, group, and plan. The exit code is 1 if an invariant was
// broken, no takeover was checked, or a run failed.
//
//	go run ./cmd/soak -duration 30m -seed 1
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/soak/internal/chaos"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// session is the consumer group's session timeout.
const session = 3 * time.Second

func main() {
	duration := flag.Duration("duration", 30*time.Minute, "duration of the soak")
	turn := flag.Duration("turn", 4*time.Minute, "duration of each turn")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed for plans and faults; increases by 1 each turn")
	rate := flag.Int("rate", 500, "records produced per second")
	faults := flag.Float64("faults", 0.15, "fraction of requests to LaunchDarkly that fail")
	late := flag.Float64("late", 0.002, "fraction of offset commits that arrive late, in addition to those in the plans")
	protocols := flag.String("protocols", "classic,consumer",
		"comma-separated group protocols, used in rotation, one per turn")
	dir := flag.String("dir", "", "directory for logs and journals (default: a temporary directory, deleted afterwards)")
	flag.Parse()
	log.SetFlags(log.Ltime)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	report, err := soak(ctx, *duration, *turn, *seed, *rate, *faults, *late, strings.Split(*protocols, ","), *dir)
	stop()
	if report != nil {
		fmt.Print(report)
	}
	if err != nil {
		log.Fatal(err)
	}
	if len(report.Broken) > 0 {
		os.Exit(1)
	}
}

func soak(ctx context.Context, duration, turn time.Duration, seed uint64, rate int, faults, late float64,
	protocols []string, dir string) (*chaos.Report, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "soak"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	binary, err := chaos.Build(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	properties := chaos.ApacheProperties(session)
	cluster, err := kafkatest.StartApache(ctx, kafkatest.ApacheConfig{Dir: dir, Properties: properties})
	if err != nil {
		return nil, err
	}
	defer cluster.Close()

	all := chaos.NewReport()
	for i := 0; all.Duration < duration && ctx.Err() == nil; i++ {
		protocol := protocols[i%len(protocols)]
		log.Printf("turn %d: protocol %s, seed %d", i, protocol, seed)
		limits := chaos.Limits{Topics: true, Brokers: 3, Session: session}
		report, err := chaos.Run(ctx, chaos.Config{
			Binary: binary, Cluster: chaos.Apache{Apache: cluster}, Dir: dir, Name: fmt.Sprintf("soak-%d", i),
			Protocol: protocol, Session: session, Plan: chaos.NewPlan(seed, min(turn, duration-all.Duration), limits),
			Seed: seed, Rate: rate, Faults: faults, Late: late, Logf: log.Printf,
		})
		if err != nil {
			return all, err
		}
		for _, broken := range report.Broken {
			log.Printf("BROKEN in turn %d: %s", i, broken)
		}
		all.Add(report)
		seed++
	}
	if all.Judged == 0 {
		all.Broken = append(all.Broken, "no takeover checked: soak too short or machine too slow")
	}
	return all, nil
}
