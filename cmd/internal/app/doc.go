// Package app builds the program from its configuration and runs it.
//
// Shutdown has this order:
//
//  1. The context passed to [App.Run] is done, on SIGTERM or by the caller. From then on, /readyz
//     reports the shutdown.
//  2. The consumer stops reading, seals open batches, delivers sealed batches within
//     delivery.drain_timeout, commits, and leaves the group.
//  3. The LaunchDarkly client waits for in-flight attempts and closes its connections.
//  4. The admin server stops last, so that operators can watch the drain.
//
// [App.Run] returns nil only if everything sealed was delivered and committed.
//
// The admin server is read-only. /healthz fails only if a restart would help. /readyz fails while
// delivery is blocked until someone intervenes, and returns the reason. / is the status page. None
// of them contains credentials or the content of events; they contain the positions of records and
// the responses of LaunchDarkly.
package app
