// Segment-to-launchdarkly reads Segment events from Kafka and delivers the track calls among them to LaunchDarkly as
// custom events. Its help says how it is used; each command has a file of its own.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:], system{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
	}))
}
