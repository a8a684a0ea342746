//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Action is a kind of step.
type Action string

// These actions affect members, brokers, connections, LaunchDarkly, and the main topic.
const (
	Join            Action = "join"
	Leave           Action = "leave"            // SIGTERM
	Kill            Action = "kill"             // SIGKILL
	Freeze          Action = "freeze"           // SIGSTOP, for longer than the session timeout, then SIGCONT
	KillBroker      Action = "kill broker"      // SIGKILL
	KillCoordinator Action = "kill coordinator" // SIGKILL to the group coordinator
	RestartBrokers  Action = "restart brokers"  // all killed brokers
	MoveLeader      Action = "move leader"
	Outage          Action = "outage" // every request to LaunchDarkly fails with Step.Fault
	Cut             Action = "cut connections"
	Block           Action = "black hole" // connections stay open, but no bytes arrive
	Slow            Action = "slow network"
	Late            Action = "late commit" // the connection breaks, and the broker receives the commit later
	Bounce          Action = "bounce"      // a static member exits and immediately starts again
	Twin            Action = "twin"        // a second member starts with a static member's instance ID
	Grow            Action = "add partitions"
	Trim            Action = "delete delivered records"
	Rest            Action = "rest"

	// The following actions are applied to separate topics.
	TrimAhead Action = "delete undelivered records"
	Unclean   Action = "elect a lagging replica"
	Recreate  Action = "recreate the topic"
	Reset     Action = "reset offsets" // while the group has no members
)

// Step is an entry in a plan: an action with its parameters.
type Step struct {
	// Do is the action.
	Do Action
	// Target is the number of the affected member, broker, or partition. A member's number is its
	// index among the running members, oldest first.
	Target int
	// Fire runs Kill and Freeze while random faults are active. The takeover is then not
	// checked. For Bounce, Fire sends SIGKILL instead of SIGTERM. For TrimAhead, Fire kills and
	// replaces the youngest member. For Twin, Fire makes the older of the two members leave.
	Fire bool
	// Static gives a joining member an instance ID.
	Static bool
	// To selects the offset that Reset sets: the constant earliest, middle, or beyond.
	To string
	// Fault is the fault that Outage injects.
	Fault ldtest.Fault
	// For is the duration of the step, or the time to wait after it.
	For time.Duration

	// Link selects which of the member's links a network fault affects. A broker's index selects
	// the link to that broker. The broker count selects the link to LaunchDarkly, and any greater
	// value selects the links to all brokers.
	Link int
	// If Up is set, Block stops traffic from the member. If Down is set, it stops traffic to the
	// member.
	Up, Down bool
	// Cut makes Block end with a reset of the connections. Without Cut, the blocked bytes arrive at
	// the end.
	Cut bool
	// By is the delay that Slow adds in each direction.
	By time.Duration
}

// onMember reports whether the step's target is a member.
func (s Step) onMember() bool {
	switch s.Do {
	case Leave, Kill, Freeze, Cut, Block, Slow, Late, Bounce, Twin:
		return true
	}
	return false
}

func (s Step) String() string {
	switch s.Do {
	case Kill, Freeze:
		how := "in calm"
		if s.Fire {
			how = "under fire"
		}
		return fmt.Sprintf("%s %d %s, %v", s.Do, s.Target, how, s.For)
	case Join:
		return fmt.Sprintf("%s, static %v, %v", s.Do, s.Static, s.For)
	case Reset:
		return fmt.Sprintf("%s to %s, %v", s.Do, s.To, s.For)
	case Leave, KillBroker, MoveLeader, Bounce, Twin, TrimAhead:
		return fmt.Sprintf("%s %d, %v", s.Do, s.Target, s.For)
	case Cut, Late:
		return fmt.Sprintf("%s %d link %d, %v", s.Do, s.Target, s.Link, s.For)
	case Block:
		return fmt.Sprintf("%s %d link %d %s, %v, cut %v", s.Do, s.Target, s.Link,
			map[[2]bool]string{{true, false}: "up", {false, true}: "down", {true, true}: "both ways"}[[2]bool{s.Up, s.Down}],
			s.For, s.Cut)
	case Slow:
		return fmt.Sprintf("%s %d link %d by %v, %v", s.Do, s.Target, s.Link, s.By, s.For)
	case Outage:
		return fmt.Sprintf("%s %v, %v", s.Do, s.Fault, s.For)
	default:
		return fmt.Sprintf("%s, %v", s.Do, s.For)
	}
}

// Limits restricts a plan.
type Limits struct {
	// Topics adds each rare action at most once (see rareFaults). Clean overrides Topics.
	Topics bool
	// Clean restricts the plan to clean joins and leaves.
	Clean bool
	// Brokers is the number of brokers that may be killed, one at a time. Zero means none.
	Brokers int
	// Session is the group's session timeout.
	Session time.Duration
}

const (
	maxMembers = 4
	partitions = 6

	clusterSize = 3 // brokers
)

// outages lists the possible faults of an outage. Some are transient, and some halt delivery.
var outages = []ldtest.Fault{
	{Status: 429}, {Status: 429, RetryAfter: "1"}, {Status: 503}, {Status: 503, RetryIn: time.Second}, {Status: 500},
	{Status: 302}, {Status: 401}, {Kind: ldtest.Hang, For: 3 * time.Second}, {Kind: ldtest.Reset, Accepted: true},
	{Kind: ldtest.ResetUnread}, {Kind: ldtest.CutOff, Accepted: true},
}

// NewPlan returns a random plan of about the given duration. The same arguments produce the same
// plan. The plan starts with two joins and keeps at least one member running, except during Reset.
func NewPlan(seed uint64, duration time.Duration, limits Limits) []Step {
	rng := rand.New(rand.NewPCG(seed, 1))
	plan := []Step{{Do: Join, For: time.Second}, {Do: Join, For: 2 * time.Second}}
	joins := 25 // number of draws, out of 140, that become joins
	if limits.Clean {
		joins = 50
	}
	static, down := []bool{false, false}, 0 // down: steps since a broker was killed; 0 if no broker is down
	spent := 3 * time.Second
	add := func(s Step) {
		switch s.Do {
		case Join:
			static = append(static, s.Static)
		case Leave, Kill:
			static = slices.Delete(static, s.Target, s.Target+1)
		case Bounce, Twin: // the new or remaining member moves to the end
			static = append(slices.Delete(static, s.Target, s.Target+1), true)
		case Reset:
			static = make([]bool, len(static))
		}
		switch {
		case s.Do == KillBroker || s.Do == KillCoordinator:
			down = 1
		case s.Do == RestartBrokers:
			down = 0
		case down > 0:
			down++
		}
		plan = append(plan, s)
		spent += s.For + overhead[s.Do]
	}
	rare := rareFaults(rng, limits)
	every := duration / time.Duration(len(rare)+1)
	for next := every; spent < duration; {
		members := len(static)
		s := Step{For: time.Duration(500+rng.IntN(2000)) * time.Millisecond}
		if len(rare) > 0 && down == 0 && members > 1 && spent >= next {
			add(rare[0])
			rare, next = rare[1:], next+every
			continue
		}
		switch draw := rng.IntN(140); {
		case down > 2 || down > 0 && draw < 30:
			s.Do = RestartBrokers
		case draw < joins && members < maxMembers || members == 1:
			s.Do, s.Static = Join, !limits.Clean && rng.IntN(3) == 0
		case draw < 45 || limits.Clean:
			s.Do, s.Target = Leave, rng.IntN(members)
		case draw < 58:
			s.Do, s.Target, s.Fire = Kill, rng.IntN(members), rng.IntN(2) == 0
			if !s.Fire {
				s.For = limits.Session + takeover
			}
		case draw < 66:
			s.Do, s.Target, s.Fire, s.For = Freeze, rng.IntN(members), rng.IntN(2) == 0, limits.Session+takeover
		case draw < 76:
			s.Do, s.Fault = Outage, outages[rng.IntN(len(outages))]
		case draw < 82:
			s.Do, s.Target = MoveLeader, rng.IntN(partitions)
		case draw < 112:
			networkFault(rng, &s, members, limits)
		case draw < 115:
			s.Do = Trim
		case draw < 122 && slices.Contains(static, true):
			s.Do, s.Target, s.Fire = Bounce, slices.Index(static, true), rng.IntN(2) == 0
		case draw < 126 && slices.Contains(static, true):
			s.Do, s.Target, s.Fire, s.For = Twin, slices.Index(static, true), rng.IntN(2) == 0, limits.Session+takeover
		case limits.Brokers == 0 || down > 0:
			s.Do = Rest
		case draw < 136:
			s.Do, s.Target = KillBroker, rng.IntN(limits.Brokers)
		default:
			s.Do = KillCoordinator
		}
		add(s)
	}
	return plan
}

// overhead is the approximate time that an action takes in addition to Step.For.
var overhead = map[Action]time.Duration{
	Leave: 3 * time.Second, Bounce: 2 * time.Second, Twin: 2 * time.Second, Kill: time.Second, Freeze: 3 * time.Second,
	RestartBrokers: 4 * time.Second, Recreate: time.Second, Reset: 10 * time.Second, Unclean: 25 * time.Second,
}

// rareFaults returns the steps that a plan contains at most once, in random order. If limits
// excludes these steps, rareFaults returns nil.
func rareFaults(rng *rand.Rand, limits Limits) []Step {
	if limits.Clean || !limits.Topics {
		return nil
	}
	rare := []Step{
		{Do: Grow, For: time.Second}, {Do: TrimAhead, Target: rng.IntN(sidePartitions), For: 3 * time.Second,
			Fire: rng.IntN(2) == 0},
		{Do: Recreate, For: 2 * time.Second}, {Do: Reset, To: []string{earliest, middle, beyond}[rng.IntN(3)],
			For: 5 * time.Second},
	}
	if limits.Brokers == clusterSize {
		rare = append(rare, Step{Do: Unclean, For: 2 * time.Second})
	}
	rng.Shuffle(len(rare), func(i, j int) { rare[i], rare[j] = rare[j], rare[i] })
	return rare
}

// networkFault turns s into a random network fault for a random member.
func networkFault(rng *rand.Rand, s *Step, members int, limits Limits) {
	s.Target, s.Link = rng.IntN(members), rng.IntN(2*clusterSize)
	switch draw := rng.IntN(30); {
	case draw < 6:
		s.Do = Cut
	case draw < 14:
		s.Do, s.Cut = Block, rng.IntN(2) == 0
		s.Up, s.Down = rng.IntN(3) > 0, true
		if s.Up {
			s.Down = rng.IntN(2) == 0
		}
		s.For = time.Second + time.Duration(rng.Int64N(int64(limits.Session+takeover)))
	case draw < 20:
		s.Do, s.By = Slow, time.Duration(10+rng.IntN(20))*time.Millisecond
		if rng.IntN(2) == 0 {
			s.By = time.Duration(100+rng.IntN(2500)) * time.Millisecond
		}
		s.For += time.Second
	default:
		s.Do, s.Link, s.For = Late, clusterSize+1, 2*time.Second
	}
}

// takeover is the time allowed after the session timeout for other members to acquire a missing
// member's partitions.
const takeover = 2 * time.Second
