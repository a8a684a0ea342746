// Package app builds the program from its configuration and runs it.
//
// Shutdown proceeds in this order:
//
//  1. The context passed to [App.Run] is canceled, on SIGTERM or by the caller. From then on,
//     /readyz reports the shutdown.
//  2. The consumer stops reading, seals open batches, delivers sealed batches within
//     delivery.drain_timeout, commits, and leaves the group.
//  3. The LaunchDarkly client waits for in-flight attempts and closes its connections.
//  4. The admin server stops last, so that operators can watch the drain.
//
// The shutdown ends within delivery.drain_timeout plus [ShutdownTimeout].
//
// [App.Run] returns nil only if all sealed batches were delivered and committed and, in a run that
// ends on its own (Options.Until), everything before the end.
//
// The admin server is read-only. /healthz fails only if a restart would help. /readyz fails during
// startup and shutdown, while delivery is blocked until someone intervenes, while the consumer has a
// problem, and while the OAuth token for Kafka cannot be renewed. The response gives the reasons. /
// serves the status page, and /delivered.json the delivered events by name and hour. The server
// never returns credentials, event content, or the bodies of LaunchDarkly's responses, but does
// return record positions, event names, and status codes.
package app
