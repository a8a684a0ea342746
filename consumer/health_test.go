package consumer

import (
	"errors"
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestProblemIsLoggedAgainOnlyIfItChanges(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	h := newHealth(zap.New(core))
	for _, step := range []struct {
		p      problem
		text   string
		logged bool
	}{
		{failure("down", errors.New("b1"), "Fix it."), "down: b1. Fix it.", true},
		{failure("down", errors.New("b1"), "Fix it."), "down: b1. Fix it.", false},
		{problem{message: "down", text: "down: b2.", advice: "Fix it."}, "down: b2. Fix it.", false},
		{failure("down", errors.New("b2"), "Fix that."), "down: b2. Fix that.", true},
		{failure("slow", errors.New("b2"), "Fix that."), "slow: b2. Fix that.", true},
		{failure("slow", errors.New("b2"), ""), "slow: b2", true},
		{failure("slow", errors.New("b1"), ""), "slow: b1", true},
	} {
		h.report("s", step.p)
		entries := logs.TakeAll()
		if got := h.status().Problems; !slices.Equal(got, []string{step.text}) || len(entries) > 0 != step.logged {
			t.Errorf("want %q, logged %v; got %q, %v", step.text, step.logged, got, entries)
		}
		if len(entries) > 0 {
			if advice, _ := entries[0].ContextMap()["advice"].(string); advice != step.p.advice {
				t.Errorf("logged advice %q, want %q", advice, step.p.advice)
			}
		}
	}
}
