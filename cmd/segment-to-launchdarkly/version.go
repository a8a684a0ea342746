package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
)

func newVersion(sys system) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, the commit, and the versions of Go and all modules",
		Example: `  ` + name + ` version`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				info = &debug.BuildInfo{}
			}
			settings := map[string]string{}
			for _, s := range info.Settings {
				settings[s.Key] = s.Value
			}
			commit := "unknown" // if built outside a Git checkout
			if settings["vcs.revision"] != "" {
				commit = settings["vcs.revision"] + " of " + settings["vcs.time"]
			}
			if settings["vcs.modified"] == "true" {
				commit += ", modified"
			}
			var out strings.Builder
			fmt.Fprintf(&out, "%s %s\ncommit %s\n%s %s/%s\n",
				name, app.Version(), commit, info.GoVersion, settings["GOOS"], settings["GOARCH"])
			for _, m := range info.Deps {
				if m.Replace != nil {
					m = m.Replace
				}
				fmt.Fprintf(&out, "%s %s\n", m.Path, m.Version)
			}
			_, err := fmt.Fprint(sys.stdout, out.String())
			return outputFailure(err)
		},
	}
}
