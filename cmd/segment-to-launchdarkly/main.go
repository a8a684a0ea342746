// Segment-to-launchdarkly reads Segment events from Kafka and delivers the track calls among them
// to LaunchDarkly as custom events. Run it with --help for usage. Each command has its own file.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:], system{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
	}))
}
