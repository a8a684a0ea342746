// Package ldtest is a fake of LaunchDarkly's events service: as strict as the
// real one, with a record of what it saw and with faults on demand.
//
//	ld := ldtest.New(ldtest.Config{Retain: true})
//	srv := httptest.NewServer(ld)          // or http.Server, or ldtest.NewPipe in a synctest bubble
//	post to srv.URL + "/events/bulk/" + ldtest.Sample.ClientSideID
//	ld.Report()                            // counts, violations, events that would never count
//	ld.Requests(), ld.Events()             // every request; the events that count, in order
//	ld.Wait(ctx, 5000)                     // until 5,000 events count
//
// Faults, each without effect or, with Taken, after taking the request:
//
//	ld.Script(ldtest.Fault{Status: 503}, ldtest.Fault{}, ldtest.Fault{Kind: ldtest.CutOff, Taken: true})
//	ld.Random(seed, 0.1)                   // one request in ten meets one of Passing()
//	ld.Down(ldtest.Fault{Status: 503})     // everything, until Up
//	ld.Poison(ldtest.Containing("bad"))    // 400 for a request with such an event
//	ld.Limit(100_000)                      // 413 from that size on
//
// As a process of its own: [Server.Control] serves the same over HTTP,
// Config.Journal receives one line of JSON per request, [ReadJournal] reads them.
//
// # What it holds to
//
//  1. Both doors, by exact path: POST /events/bulk/{client-side ID} and
//     POST /v2/event-data-import/{project}/{environment}. A trailing or double
//     slash is 404, another method 405. HEAD /sdk/goals/{client-side ID} tells
//     whether an ID is known.
//  2. client_side: 404 for an unknown ID. metric_import: 401 unless the token is
//     that environment's, 411 without Content-Length, 406 unless the schema header
//     is 4, 400 for a User-Agent of another form than MetricImport-COMPANY-int/VERSION.
//     Both: 413 from 10 MB on, 400 for a broken gzip, 400 unless the body is a
//     JSON array of objects of kind custom. A refused request has no effect.
//  3. Anything else is 202. Events whose fields are malformed are then dropped, as
//     the real service does in silence; the report tells each with its reason.
//  4. A payload ID is processed once; a request without one, or with one that is
//     not a UUID, every time. The same ID with another body is a violation, even if
//     the first was refused or cut off; so is everything else that a correct client
//     never does (see [Violation]).
//  5. What a request did is recorded before its answer is sent: when a client
//     knows that it was taken, every record of it already says so.
//
// Sources: LaunchDarkly's page "Importing metric events", its SDKs' event schema,
// and for context kinds go-sdk-common's ldcontext. Where nothing is published (the
// scope of deduplication, an unknown client-side ID, one payload ID with two
// bodies) the fake does the strictest thing.
//
// The package starts no goroutine and listens nowhere. All methods may be called
// concurrently.
package ldtest
