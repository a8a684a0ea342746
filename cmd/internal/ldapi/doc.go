// Package ldapi is a client of LaunchDarkly's REST API. It reads the metrics of a project and the
// number of events that LaunchDarkly counted.
//
//  1. [Client.Metrics] returns all metrics or an error, never a part of the list.
//  2. A request that fails with 408, 429, 5xx, or a network error is retried. All waits of a
//     [Client] together take at most 30 s. A 429 is retried when the rate limit is reset, as its
//     headers announce. If that is too late, the request fails immediately.
//  3. Each request takes at most 10 s. Response bodies are limited to 64 MiB.
//  4. Redirects are never followed, so the access token is sent to no other host.
//  5. An [Error] describes what was attempted, what LaunchDarkly responded, and how to fix it. It
//     never contains the access token.
//
// LaunchDarkly's documentation of the API: https://launchdarkly.com/docs/api
package ldapi
