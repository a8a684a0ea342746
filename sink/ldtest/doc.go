// Package ldtest provides a fake of LaunchDarkly's events service. The fake is at least as strict
// as the real service, records the requests it receives, and injects faults on demand.
//
//	ld := ldtest.New(ldtest.Config{Retain: true})
//	srv := httptest.NewServer(ld)          // or http.Server and a Pipe in a synctest bubble
//	// send requests to srv.URL + "/events/bulk/" + ldtest.Sample.ClientSideID
//	ld.Report()                            // counters, violations, dropped events
//	ld.Requests(), ld.Events()             // every request; the events that count, in order
//	ld.Wait(ctx, 5000)                     // waits until 5,000 events count
//
// With Config.API, the fake also serves the parts of LaunchDarkly's REST API that list metrics and
// counted events; see [API].
//
// A fault makes a request fail, either without effect or, with Accepted, after the request has
// taken effect:
//
//	ld.Script(ldtest.Fault{Status: 503}, ldtest.Fault{Kind: ldtest.Reset, Accepted: true})
//	ld.Random(seed, 0.1)                   // one of TransientFaults for about every tenth request
//	ld.Down(ldtest.Fault{Status: 503})     // every request, until Up
//	ld.Poison(ldtest.Containing("bad"))    // 400 for requests with a matching event
//	ld.Limit(100_000)                      // 413 for bodies of this size or larger
//
// To run the fake in a separate process, serve [Server.Control], which injects the same faults over
// HTTP. Set Config.Journal to receive one line of JSON per request. [ReadJournal] reads the
// journal.
//
// # Behavior
//
//  1. The fake serves both endpoints at their exact paths, POST /events/bulk/{client-side ID} and
//     POST /v2/event-data-import/{project}/{environment}. The fake responds with 404 to paths with
//     a trailing or double slash, and with 405 to other methods. HEAD /sdk/goals/{client-side ID}
//     returns 200 if the client-side ID exists, and 404 if not.
//  2. A rejected request has no effect. client_side responds with 404 to an unknown client-side ID.
//     metric_import responds with 401 if the token does not belong to the environment, 411 if
//     Content-Length is missing, and 406 if the schema header is not 4. metric_import also responds
//     with 400 to a User-Agent that does not have the form MetricImport-COMPANY-int/VERSION. Both
//     endpoints respond with 413 to bodies of 10 MB or more before compression. An unknown
//     Content-Encoding, a corrupt gzip stream, or a body that is not a JSON array of objects of
//     kind custom results in a 400.
//  3. The fake accepts any other request with 202. Like the real service, it then silently drops
//     events with malformed fields. The report lists the dropped events and the reasons.
//  4. Each payload ID is processed once. A request whose payload ID is not a valid UUID is
//     processed every time. Sending two bodies under one payload ID is a violation, even if the
//     first request was rejected or its response was cut off. For other violations, see
//     [Violation].
//  5. A request is recorded before the response is sent. When a client learns that a request was
//     accepted, the report and the journal already include it.
//
// The behavior follows LaunchDarkly's "Importing metric events" documentation, its SDKs' event
// schema, and, for context kinds, go-sdk-common's ldcontext package. LaunchDarkly does not document
// the deduplication scope, unknown client-side IDs, or two bodies under one payload ID. In these
// cases, the fake assumes the strictest behavior.
//
// The package starts no goroutines and opens no network listeners. All methods are safe for
// concurrent use.
package ldtest
