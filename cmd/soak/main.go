//go:build linux

// Soak runs the program against Apache Kafka under random faults for a given time and prints what
// came of it. It takes turns between the protocols, classic and consumer, each turn with a topic, a
// group and a plan of its own. It exits with 1 if an invariant broke.
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

// session is the group's session timeout in a soak.
const session = 3 * time.Second

func main() {
	duration := flag.Duration("duration", 30*time.Minute, "how long to go on")
	turn := flag.Duration("turn", 4*time.Minute, "how long a turn lasts")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "what the plans and faults derive from; each turn takes the next number")
	rate := flag.Int("rate", 500, "records produced per second")
	faults := flag.Float64("faults", 0.15, "share of requests that LaunchDarkly fails")
	late := flag.Float64("late", 0.002, "share of offset commits that arrive late, in addition to those of the plans")
	protocols := flag.String("protocols", "classic,consumer", "the group protocols that turns are of, one after the other")
	dir := flag.String("dir", "", "directory for logs and journals, which is kept; empty: a temporary one, which is not")
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

func soak(ctx context.Context, duration, turn time.Duration, seed uint64, rate int, faults, late float64, protocols []string, dir string) (*chaos.Report, error) {
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
	cluster, err := kafkatest.StartApache(ctx, kafkatest.ApacheConfig{Dir: dir, Properties: chaos.ApacheProperties(session)})
	if err != nil {
		return nil, err
	}
	defer cluster.Close()

	all := chaos.NewReport()
	for i := 0; all.Duration < duration && ctx.Err() == nil; i++ {
		protocol := protocols[i%len(protocols)]
		log.Printf("turn %d: protocol %s, seed %d", i, protocol, seed)
		report, err := chaos.Run(ctx, chaos.Config{
			Binary: binary, Cluster: chaos.Apache{Apache: cluster}, Dir: dir, Name: fmt.Sprintf("soak-%d", i), Protocol: protocol,
			Session: session, Plan: chaos.NewPlan(seed, min(turn, duration-all.Duration), chaos.Limits{Topics: true, Brokers: 3, Session: session}),
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
		all.Broken = append(all.Broken, "no takeover was judged: the soak was too short, or the machine too slow")
	}
	return all, nil
}
