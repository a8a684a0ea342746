package compare

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"pgregory.net/rapid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// agree compares the fake with LaunchDarkly's package ldcontext for one context kind and key. The
// two differ only for an empty kind. ldcontext treats it as "user", but a name in contextKeys must
// not be empty.
func agree(t *testing.T, kind, key string) error {
	t.Helper()
	keys, err := json.Marshal(map[string]string{kind: key})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, clientSidePath, strings.NewReader(
		fmt.Sprintf(`[{"kind":"custom","key":"k","contextKeys":%s,"creationDate":1}]`, keys)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LaunchDarkly-Event-Schema", "4")
	r.Header.Set("X-LaunchDarkly-Payload-ID", "6ba7b810-9dad-51d1-80b4-00c04fd430c8")
	ld := ldtest.New(ldtest.Config{})
	ld.ServeHTTP(httptest.NewRecorder(), r)
	report := ld.Report()
	if report.Accepted != 1 || report.Processed+report.Dropped != 1 {
		t.Fatalf("%s: %+v", keys, report)
	}
	theirs := ldcontext.NewWithKind(ldcontext.Kind(kind), key).Err()
	if kind != "" && (report.Dropped == 0) != (theirs == nil) || kind == "" && report.Dropped == 0 {
		return fmt.Errorf("kind %q, key %q: dropped %+v, LaunchDarkly: %w", kind, key, report.Drops, theirs)
	}
	return nil
}

func TestContextRulesMatchLaunchDarkly(t *testing.T) {
	for _, kind := range []string{
		"user", "unauthenticatedUser", "org", "a", "A9", "a.b_c-d", ".", "-", "_", "kind", "multi", "Kind", "MULTI", "kinds",
		"", " ", "a b", "a/b", "a:b", "é", "用户", "a\u0000", "user ", "\"", "\\",
	} {
		for _, key := range []string{"u", "", " ", "a:b", "%", "é", "\"", "\\", "\u0000", strings.Repeat("k", 5000)} {
			if err := agree(t, kind, key); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestContextRulesMatchLaunchDarklyForAnyKindAndKey(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._-]{0,8}`), rapid.StringMatching(`[ -~]{0,4}`),
			rapid.String()).Draw(rt, "kind")
		key := rapid.OneOf(rapid.StringMatching(`[!-~]{0,4}`), rapid.String()).Draw(rt, "key")
		if err := agree(t, kind, key); err != nil {
			rt.Fatal(err)
		}
	})
}
