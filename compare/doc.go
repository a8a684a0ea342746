// Package compare compares packages with the code of others: the fake LaunchDarkly with
// LaunchDarkly's SDK, and the JSON scanner with other parsers.
//
// The package is a separate module, so that the program does not depend on this code.
package compare
