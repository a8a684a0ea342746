package checks

import (
	"context"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
)

// everyImage says of each image that it exists.
type everyImage struct{}

func (everyImage) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, digest.FromString(ref), []byte("{}"), nil
}

// objections returns what docker build --check says of a Dockerfile: BuildKit's rules, for all stages.
func objections(t *testing.T, content string) string {
	t.Helper()
	var found []string
	_, err := dockerfile2llb.Dockerfile2LLB(t.Context(), []byte(content), dockerfile2llb.ConvertOpt{
		MetaResolver: everyImage{}, AllStages: true,
		Warn: func(rule, _, _, message string, _ []parser.Range) { found = append(found, rule+": "+message) },
	})
	if err != nil {
		found = append(found, err.Error())
	}
	return strings.Join(found, "\n")
}

func TestBuildKitAcceptsTheDockerfile(t *testing.T) {
	if o := objections(t, string(readFile(t, deploy+"/Dockerfile"))); o != "" {
		t.Error(o)
	}
	for broken, want := range map[string]string{
		"FROM a:1\nENTRYPOINT run this": "JSONArgsRecommended",
		"FROM a:1\nENV PASSWORD=x":      "SecretsUsedInArgOrEnv",
		"FROM a:1\nCOPY x $undefined/":  "UndefinedVar",
		"FROM a:1 AS x\nfrom x":         "ConsistentInstructionCasing",
		"FROM a:1\nRUB x":               "unknown instruction: RUB",
	} {
		if o := objections(t, broken); !strings.Contains(o, want) {
			t.Errorf("%q: %q, want %s", broken, o, want)
		}
	}
}
