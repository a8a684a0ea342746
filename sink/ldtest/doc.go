// Package ldtest is a fake of LaunchDarkly's events service. It is as strict as the real service,
// records the requests it receives, and injects faults on demand.
//
//	ld := ldtest.New(ldtest.Config{Retain: true})
//	srv := httptest.NewServer(ld)          // or http.Server and a Pipe in a synctest bubble
//	// send requests to srv.URL + "/events/bulk/" + ldtest.Sample.ClientSideID
//	ld.Report()                            // counters, violations, dropped events
//	ld.Requests(), ld.Events()             // every request; the events that count, in order
//	ld.Wait(ctx, 5000)                     // until 5,000 events count
//
// Each fault fails a request either without effect or, with Accepted, after accepting it:
//
//	ld.Script(ldtest.Fault{Status: 503}, ldtest.Fault{Kind: ldtest.Reset, Accepted: true})
//	ld.Random(seed, 0.1)                   // one of TransientFaults for every tenth request
//	ld.Down(ldtest.Fault{Status: 503})     // every request, until Up
//	ld.Poison(ldtest.Containing("bad"))    // 400 for requests with a matching event
//	ld.Limit(100_000)                      // 413 for bodies of this size or larger
//
// To run the fake in a process of its own, serve [Server.Control], which offers the same faults
// over HTTP, and set Config.Journal, which receives one line of JSON per request. [ReadJournal]
// reads the journal.
//
// # Behavior
//
//  1. The fake serves both endpoints by their exact paths, POST /events/bulk/{client-side ID} and
//     POST /v2/event-data-import/{project}/{environment}. It responds with 404 to a trailing or
//     double slash, and with 405 to any other method. HEAD /sdk/goals/{client-side ID} reports
//     whether an ID is known.
//  2. A rejected request has no effect. client_side responds with 404 to an unknown ID.
//     metric_import responds with 401 if the token does not belong to the environment, 411 if
//     Content-Length is missing, 406 if the schema header is not 4, and 400 if the User-Agent is
//     not of the form MetricImport-COMPANY-int/VERSION. Both respond with 413 to bodies of 10 MB or
//     more, and with 400 to a corrupt gzip stream and to bodies that are not a JSON array of
//     objects of kind custom.
//  3. The response to any other request is 202. Like the real service, the fake then silently drops
//     events with malformed fields; the report lists each one with its reason.
//  4. Each payload ID is processed once. A request without a valid UUID as payload ID is processed
//     every time. Sending a different body under the same ID is a violation, even if the first
//     request was rejected or cut off. So is anything else that a correct client never does (see
//     [Violation]).
//  5. The effect of a request is recorded before the response is sent. When a client learns that a
//     request was accepted, the report and the journal already include it.
//
// Sources: LaunchDarkly's documentation "Importing metric events", the event schema of its SDKs,
// and, for context kinds, package ldcontext of go-sdk-common. Where LaunchDarkly publishes nothing
// (the scope of deduplication, unknown client-side IDs, one payload ID with two bodies), the fake
// assumes the strictest behavior.
//
// The package starts no goroutines and opens no listeners. All methods are safe for concurrent use.
package ldtest
