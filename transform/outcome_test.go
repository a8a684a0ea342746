package transform

import "testing"

func TestEveryReasonHasANameAnOutcomeAndHelp(t *testing.T) {
	names := map[string]bool{}
	for reason := range Reasons {
		if names[reason.String()] || (reason.String() == "") != (reason == None) || reason.Help() == "" {
			t.Errorf("reason %d: name %q, help %q", reason, reason, reason.Help())
		}
		names[reason.String()] = true
		if (reason.Outcome() == Event) != (reason == None) {
			t.Errorf("%v: outcome %v", reason, reason.Outcome())
		}
	}
}
