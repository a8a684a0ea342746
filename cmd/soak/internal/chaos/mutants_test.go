//go:build linux

package chaos

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// mutant is the program with one guard removed, and a schedule that exposes it.
type mutant struct {
	name    string
	edits   []edit
	broken  []string // invariants, of which the checker must find one broken
	plan    []Step
	setting string
	faults  float64 // share of requests that LaunchDarkly fails
	rate    int     // 0: the usual
	late    float64 // share of commits that arrive late
}

// edit replaces text of a file that stands there once.
type edit struct{ file, old, new string }

// The schedules: each kills members with requests under way.
var (
	killing = []Step{
		{Do: Join, For: time.Second}, {Do: Join, For: 1500 * time.Millisecond}, {Do: Kill, For: 4 * time.Second},
		{Do: Join, For: time.Second}, {Do: Kill, For: 4 * time.Second}, {Do: Join, For: time.Second},
	}
	// LaunchDarkly has failed for a while when members are killed, so that they leave many cuts
	// behind.
	firing = []Step{
		{Do: Join, For: time.Second}, {Do: Join, For: 1500 * time.Millisecond}, {Do: Outage, Fault: ldtest.Fault{Status: 503}, For: 4 * time.Second},
		{Do: Kill, Fire: true, For: 4 * time.Second}, {Do: Join, For: time.Second},
	}
	refusing = []Step{{Do: Join, For: 2 * time.Second}, {Do: Outage, Fault: ldtest.Fault{Status: 302}, For: time.Second}, {Do: Outage, Fault: ldtest.Fault{Status: 401}, For: time.Second}}
	// Commits arrive late, and members are killed after it.
	delaying = []Step{
		{Do: Join, For: time.Second}, {Do: Join, For: 8 * time.Second}, {Do: Kill, For: 6 * time.Second}, {Do: Join, For: 8 * time.Second}, {Do: Kill, For: 6 * time.Second},
	}
	// A member gives partitions up while its requests hang; when they have timed out it sends them
	// again.
	handing = []Step{
		{Do: Join, For: 2 * time.Second}, {Do: Outage, Fault: ldtest.Fault{Kind: ldtest.Hang, For: 3 * time.Second}, For: 600 * time.Millisecond},
		{Do: Join, For: 5 * time.Second},
	}
)

var mutants = []mutant{
	{
		name:   "commit early",
		edits:  []edit{{"consumer/batch.go", "return b.state == stateDelivered && b.letters == 0", "return b.state >= stateRecorded && b.letters == 0"}},
		broken: []string{"committed before it was delivered", "sampled: committed before it was delivered"},
		plan:   refusing,
	},
	{
		name:   "forget the cuts",
		edits:  []edit{{"consumer/start.go", "						c.metadata = *p.Metadata\n", "						c.cuts, c.metadata = nil, *p.Metadata\n"}},
		broken: []string{"counted twice"},
		plan:   killing,
	},
	{
		name: "every second cut is not recorded",
		edits: []edit{
			{"consumer/window.go", "	for _, b := range w.batches {\n		if b.first.offset != at {", "	for i, b := range w.batches {\n		if b.first.offset != at {"},
			{"consumer/window.go", "		cuts = append(cuts, b.next)\n", "		if i%2 == 1 || i == len(w.batches)-1 {\n			cuts = append(cuts, b.next)\n		}\n"},
		},
		broken: []string{"posted before its cut was committed", "cut forgotten"},
		plan:   firing,
		faults: 0.15,
	},
	{
		name: "send before the cut is committed",
		edits: []edit{{"consumer/committer.go", "	failed, all := c.exchange(ctx, snapshots)\n", `	for p, s := range snapshots {
		for _, b := range p.window.record(s, sent) {
			c.send(p, b)
		}
	}
	time.Sleep(20 * time.Millisecond)
	failed, all := c.exchange(ctx, snapshots)
`}},
		broken: []string{"posted before its cut was committed"},
		plan:   killing,
	},
	{
		name:   "an unanswered commit does not end the session",
		edits:  []edit{{"consumer/committer.go", "		return endUnanswered\n", "		return \"\"\n"}},
		broken: []string{"counted twice", "commit goes down", "cut forgotten"},
		plan:   delaying,
		late:   0.2,
	},
	{
		name:   "payload ID from a random source",
		edits:  []edit{{"sink/batch.go", "return uuid.NewSHA1(namespace, name).String()", "_ = name\n	return uuid.NewString()"}},
		broken: []string{"counted twice"},
		plan:   killing,
	},
	{
		name: "mark after revoke",
		edits: []edit{
			{"consumer/drain.go", "	for _, p := range partitions {\n		p.stopSending()\n	}\n", ""},
			{"consumer/drain.go", "		p.cancel()\n		<-p.stopped\n	}\n	commitCtx", "		<-p.stopped\n	}\n	commitCtx"},
			{"consumer/drain.go", "		p.window.fence()\n		p.cancel()\n", "		_ = p\n"},
			{"consumer/drain.go", "		p.window.wait(context.Background(), func() bool { return p.window.sends == 0 })\n", ""},
			{"consumer/window.go", "	w.fenced = true\n", ""},
		},
		broken:  []string{"commit goes down", "sampled: commit goes down"},
		plan:    handing,
		setting: "S2LD_DELIVERY_DRAIN_TIMEOUT=100ms",
	},
	{
		name:   "count 302 as delivered",
		edits:  []edit{{"sink/response.go", "case status >= 200 && status < 300:", "case status >= 200 && status < 400:"}},
		broken: []string{"missing"},
		plan:   refusing,
	},
	{
		name:   "drop on 401",
		edits:  []edit{{"sink/response.go", "case status >= 200 && status < 300:", "case status >= 200 && status < 300, status == 401:"}},
		broken: []string{"missing"},
		plan:   refusing,
	},
}

// files applies the edits. It fails if one does not apply, because the mutant would then be the
// program itself.
func (m *mutant) files(t *testing.T) map[string][]byte {
	t.Helper()
	root, err := ModuleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changed := map[string][]byte{}
	for _, e := range m.edits {
		text := changed[e.file]
		if text == nil {
			if text, err = os.ReadFile(filepath.Join(root, e.file)); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			t.Fatalf("%s: the text to replace stands there %d times, not once:\n%s", e.file, n, e.old)
		}
		changed[e.file] = []byte(strings.Replace(string(text), e.old, e.new, 1))
	}
	return changed
}

func TestEditsOfMutantsApply(t *testing.T) {
	for _, m := range mutants {
		m.files(t)
	}
}

func TestCheckerCatchesEachMutant(t *testing.T) {
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("takes three minutes: set KAFKA_TEST=1")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			program, err := Build(context.Background(), t.TempDir(), m.files(t))
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // what a mutant breaks depends on when things happen
				report := embedded(t, program, "classic", m.plan, func(c *Config) {
					c.Faults, c.Rate = m.faults, cmp.Or(m.rate, c.Rate)
					c.Settle, c.Late = 10*time.Second, m.late
					if m.setting != "" {
						c.Settings = []string{m.setting}
					}
				})
				if slices.ContainsFunc(report.Broken, func(told string) bool {
					return slices.ContainsFunc(m.broken, func(invariant string) bool { return strings.HasPrefix(told, invariant+": ") })
				}) {
					return
				}
			}
			t.Errorf("none of %q was told", m.broken)
		})
	}
}
