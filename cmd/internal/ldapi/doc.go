// Package ldapi is a client of LaunchDarkly's REST API. It reads the metrics of a project and the
// number of events that LaunchDarkly counted.
//
//  1. [Client.Metrics] returns the complete list or an error, never a partial list.
//  2. A request that fails with 408, 429, 5xx, or a network error is retried. A [Client]
//     waits at most 30 s in total. After a 429, it waits until the time in the response's headers.
//     If the wait would exceed the 30 s, the request fails immediately.
//  3. Each request takes at most 10 s. Response bodies are limited to 64 MiB.
//  4. Redirects are never followed, so the access token is sent to no other host.
//  5. An [Error] describes what was attempted, what LaunchDarkly responded, and how to fix it. It
//     never contains the access token.
//
// LaunchDarkly's documentation of the API: https://launchdarkly.com/docs/api
package ldapi
