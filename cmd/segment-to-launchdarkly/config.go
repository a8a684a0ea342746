package main

import (
	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

func newConfig(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, an example, or the JSON schema",
		Long: `Prints the effective configuration as YAML. A comment gives the origin of each value: the
default, a line of the file, or an environment variable. Secrets are redacted, and secret
files are not read.`,
		Example: `  ` + name + ` config --config config.yaml
  ` + name + ` config example > config.yaml
  ` + name + ` config schema > config.schema.json`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.LoadFor(config.Offline, *path, sys.environ)
		if err != nil {
			return err
		}
		return outputFailure(cfg.WriteEffective(sys.stdout))
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "example",
			Short: "Print a configuration file with the description and default of every key",
			Args:  cobra.NoArgs,
			RunE:  func(*cobra.Command, []string) error { return outputFailure(config.WriteExample(sys.stdout)) },
		},
		&cobra.Command{
			Use:   "schema",
			Short: "Print the JSON schema of the configuration file, for editors",
			Long: `Prints the JSON schema of the configuration file. Editors with YAML support can complete
and validate the file if its first line is:

  # yaml-language-server: $schema=config.schema.json`,
			Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return outputFailure(config.WriteSchema(sys.stdout)) },
		},
	)
	return cmd
}

// outputFailure wraps a write error as a [failure].
func outputFailure(err error) error {
	if err != nil {
		return failure{err}
	}
	return nil
}
