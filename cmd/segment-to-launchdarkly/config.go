package main

import (
	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

func newConfig(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration in effect, an example, or the schema",
		Long: `Writes the configuration in effect as YAML: each key with its value and where that came
from: the default, a line of the file, or a variable. Secrets are hidden, and files that
hold them are not read.`,
		Example: `  ` + name + ` config --config config.yaml
  ` + name + ` config example > config.yaml
  ` + name + ` config schema > config.schema.json`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.LoadFor(config.Offline, *path, sys.environ)
		if err != nil {
			return err
		}
		return written(cfg.WriteEffective(sys.stdout))
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "example",
			Short: "Write a configuration file with every key, its meaning and its default",
			Args:  cobra.NoArgs,
			RunE:  func(*cobra.Command, []string) error { return written(config.WriteExample(sys.stdout)) },
		},
		&cobra.Command{
			Use:   "schema",
			Short: "Write the JSON schema of the configuration file, for editors",
			Long: `Writes the JSON schema of the configuration file. Editors that know YAML complete and
check the file by it if its first line is

  # yaml-language-server: $schema=config.schema.json`,
			Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return written(config.WriteSchema(sys.stdout)) },
		},
	)
	return cmd
}

func written(err error) error {
	if err != nil {
		return failure{err}
	}
	return nil
}
