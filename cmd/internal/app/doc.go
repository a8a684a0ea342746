// Package app puts the program together: it turns a configuration into the parts
// and runs them.
//
// The order of shutdown, stated here once:
//
//  1. The context given to [App.Run] is done (SIGTERM, or the caller's wish).
//     /readyz says so from here on.
//  2. The consumer takes no more records, seals what is open, delivers what is
//     sealed, within delivery.drain_timeout, commits, and leaves the group.
//  3. The client of LaunchDarkly waits for attempts under way and closes its
//     connections.
//  4. The admin server stops, last, so that the drain can be watched.
//
// [App.Run] returns nil only if everything sealed was delivered and committed.
//
// The admin server tells an operator what goes on, and changes nothing. /healthz fails
// only when a restart would help, /readyz while nothing is delivered for a reason that
// somebody has to mend, which it says; / is a page for people. Credentials are on none of
// them, nor is anything of an event but where it is, and what LaunchDarkly's answers say.
package app
