package checks

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// panel holds the fields of a panel or a row that the checks use.
type panel struct {
	ID          int      `json:"id"`
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Datasource  *source  `json:"datasource"`
	FieldConfig *fields  `json:"fieldConfig"`
	Targets     []target `json:"targets"`
}

type (
	source struct{ Type, UID string }
	fields struct {
		Defaults struct{ Unit string }
	}
	target struct {
		RefID        string  `json:"refId"`
		Expr         string  `json:"expr"`
		LegendFormat string  `json:"legendFormat"`
		Datasource   *source `json:"datasource"`
	}
)

// dashboard holds the fields of the dashboard that the checks use.
type dashboard struct {
	UID         string
	Title       string
	Templating  struct{ List []variable }
	Annotations struct {
		List []struct{ Expr string }
	}
	Panels []panel
}

type variable struct {
	Name, Type, AllValue string
	Query                any
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, dashboardFile), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// panels returns the panels without the rows.
func panels(t *testing.T) []panel {
	t.Helper()
	return slices.DeleteFunc(readDashboard(t).Panels, func(p panel) bool { return p.Type == "row" })
}

func TestEachPanelIsComplete(t *testing.T) {
	ids := map[int]bool{}
	titles := map[string]bool{}
	for _, p := range readDashboard(t).Panels {
		if ids[p.ID] || p.ID == 0 || titles[p.Title] || p.Title == "" {
			t.Errorf("%s: ID %d or title is missing or not unique", p.Title, p.ID)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.FieldConfig == nil ||
			p.FieldConfig.Defaults.Unit == "" && p.Type != "heatmap" {
			t.Errorf("%s: description, query, or unit missing", p.Title)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.Datasource == nil || *target.Datasource != (source{"prometheus", "${datasource}"}) ||
				refs[target.RefID] {
				t.Errorf("%s, query %s: not on ${datasource}, or not unique", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			if !strings.Contains(target.Expr, `namespace=~"$namespace", group=~"$group"`) {
				t.Errorf("%s: %s does not filter by the variables", p.Title, target.Expr)
			}
		}
	}
}

func TestDashboardHasItsVariables(t *testing.T) {
	d := readDashboard(t)
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		// Outside Kubernetes there is no namespace label, which .* matches too.
		if v.Type == "query" && v.AllValue != ".*" {
			t.Errorf("%s: allValue is %q", v.Name, v.AllValue)
		}
	}
	if !slices.Equal(names, []string{"datasource", "namespace", "group", "topic"}) {
		t.Errorf("variables: %v", names)
	}
	if len(d.Annotations.List) != 1 ||
		!strings.Contains(d.Annotations.List[0].Expr, `ALERTS{alertname=~"SegmentToLaunchDarkly.*"`) {
		t.Errorf("annotations: %v", d.Annotations.List)
	}
	if d.UID == "" || bytes.Contains(readFile(t, dashboardFile), []byte("__inputs")) {
		t.Error("the dashboard cannot be provisioned")
	}
}
