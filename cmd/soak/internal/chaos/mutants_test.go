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

// mutant is a variant of the program with one guard removed, and a plan that exposes it.
type mutant struct {
	name    string
	edits   []edit
	broken  []string // invariants, of which at least one must be reported
	plan    []Step
	setting string
	faults  float64 // fraction of requests that fail
	rate    int     // 0: default
	late    float64 // fraction of commits that arrive late
}

// edit replaces a text that occurs exactly once in a file.
type edit struct{ file, old, new string }

// These plans expose the mutants.
var (
	// Members are killed with requests in flight.
	killing = []Step{
		{Do: Join, For: time.Second}, {Do: Join, For: 1500 * time.Millisecond}, {Do: Kill, For: 4 * time.Second},
		{Do: Join, For: time.Second}, {Do: Kill, For: 4 * time.Second}, {Do: Join, For: time.Second},
	}
	// Members are killed while LaunchDarkly is failing, so that they leave many cuts behind.
	firing = []Step{
		{Do: Join, For: time.Second}, {Do: Join, For: 1500 * time.Millisecond},
		{Do: Outage, Fault: ldtest.Fault{Status: 503}, For: 4 * time.Second},
		{Do: Kill, Fire: true, For: 4 * time.Second}, {Do: Join, For: time.Second},
	}
	rejecting = []Step{{Do: Join, For: 2 * time.Second}, {Do: Outage, Fault: ldtest.Fault{Status: 302}, For: time.Second},
		{Do: Outage, Fault: ldtest.Fault{Status: 401}, For: time.Second}}
	// Commits arrive late, and members are killed afterwards.
	delaying = []Step{
		{Do: Join, For: time.Second}, {Do: Join, For: 8 * time.Second}, {Do: Kill, For: 6 * time.Second},
		{Do: Join, For: 8 * time.Second}, {Do: Kill, For: 6 * time.Second},
	}
	// A member must release partitions while its requests hang. It retries the requests after they
	// time out.
	handing = []Step{
		{Do: Join, For: 2 * time.Second}, {Do: Outage, Fault: ldtest.Fault{Kind: ldtest.Hang, For: 3 * time.Second},
			For: 600 * time.Millisecond},
		{Do: Join, For: 5 * time.Second},
	}
)

var mutants = []mutant{
	{
		name: "commit early",
		edits: []edit{{"consumer/batch.go", "return b.state == stateDelivered && b.letters == 0",
			"return b.state >= stateRecorded && b.letters == 0"}},
		broken: []string{"committed before it was delivered", "sampled: committed before it was delivered"},
		plan:   rejecting,
	},
	{
		name: "forget the cuts",
		edits: []edit{{"consumer/start.go", "						c.metadata = *p.Metadata\n",
			"						c.cuts, c.metadata = nil, *p.Metadata\n"}},
		broken: []string{"counted twice"},
		plan:   killing,
	},
	{
		name: "record only every second cut",
		edits: []edit{
			{"consumer/window.go", "	for _, b := range w.batches {\n		if b.first.offset != at {",
				"	for i, b := range w.batches {\n		if b.first.offset != at {"},
			{"consumer/window.go", "		cuts = append(cuts, b.next)\n",
				"		if i%2 == 1 || i == len(w.batches)-1 {\n			cuts = append(cuts, b.next)\n		}\n"},
		},
		broken: []string{"sent before its cut was committed", "cut forgotten"},
		plan:   firing,
		faults: 0.15,
	},
	{
		name: "send before the cut is committed",
		edits: []edit{{"consumer/committer.go",
			"	failed, all := c.exchange(ctx, snapshots)\n", `	for p, s := range snapshots {
		for _, b := range p.window.applyCommit(s, sent) {
			c.send(p, b)
		}
	}
	time.Sleep(20 * time.Millisecond)
	failed, all := c.exchange(ctx, snapshots)
`}},
		broken: []string{"sent before its cut was committed"},
		plan:   killing,
	},
	{
		name:   "do not end the session after an unanswered commit",
		edits:  []edit{{"consumer/committer.go", "		return endUnanswered\n", "		return \"\"\n"}},
		broken: []string{"counted twice", "committed offset decreased", "cut forgotten"},
		plan:   delaying,
		late:   0.2,
	},
	{
		name: "random payload ID",
		edits: []edit{{"sink/batch.go", "return uuid.NewSHA1(namespace, name).String()",
			"_ = name\n	return uuid.NewString()"}},
		broken: []string{"counted twice"},
		plan:   killing,
	},
	{
		name: "do not fence revoked partitions",
		edits: []edit{
			{"consumer/drain.go", "	for _, p := range partitions {\n		p.stopSending()\n	}\n", ""},
			{"consumer/drain.go", "		p.cancel()\n		<-p.stopped\n	}\n	commitCtx", "		<-p.stopped\n	}\n	commitCtx"},
			{"consumer/drain.go", "		p.window.fence()\n		p.cancel()\n", "		_ = p\n"},
			{"consumer/drain.go", "		p.window.wait(context.Background(), func() bool { return p.window.sends == 0 })\n", ""},
			{"consumer/window.go", "	w.fenced = true\n", ""},
		},
		broken:  []string{"committed offset decreased", "sampled: committed offset decreased"},
		plan:    handing,
		setting: "S2LD_DELIVERY_DRAIN_TIMEOUT=100ms",
	},
	{
		name:   "count 302 as delivered",
		edits:  []edit{{"sink/response.go", "case status >= 200 && status < 300:", "case status >= 200 && status < 400:"}},
		broken: []string{"missing"},
		plan:   rejecting,
	},
	{
		name: "drop on 401",
		edits: []edit{{"sink/response.go", "case status >= 200 && status < 300:",
			"case status >= 200 && status < 300, status == 401:"}},
		broken: []string{"missing"},
		plan:   rejecting,
	},
}

// files returns the edited files. It fails the test if an edit does not apply, because the mutant
// would then be the unmodified program.
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
			t.Fatalf("%s: text to replace found %d times, want 1:\n%s", e.file, n, e.old)
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
			for range 3 { // the effect of a mutant depends on timing
				report := embedded(t, program, "classic", m.plan, func(c *Config) {
					c.Faults, c.Rate = m.faults, cmp.Or(m.rate, c.Rate)
					c.Settle, c.Late = 10*time.Second, m.late
					if m.setting != "" {
						c.Settings = []string{m.setting}
					}
				})
				if slices.ContainsFunc(report.Broken, func(broken string) bool {
					return slices.ContainsFunc(m.broken, func(invariant string) bool {
						return strings.HasPrefix(broken, invariant+": ")
					})
				}) {
					return
				}
			}
			t.Errorf("none of %q was reported", m.broken)
		})
	}
}
