// Package model checks each step of package consumer's commit protocol. Only tests and the soak
// test use package model; the program does not link it.
//
// An [Observer] receives the externally visible steps in chronological order: commits applied by
// the broker, requests received by LaunchDarkly, dead letters written, and injected faults, which
// permit some steps that the rules forbid. The Observer returns an error for each step that breaks
// one of the rules below. A correct consumer follows these rules even if it crashes, the group
// rebalances, or messages are lost or late:
//
//  1. A committed offset never decreases.
//  2. A committed offset never passes a record until the record is filtered, delivered, or
//     dead-lettered.
//  3. A recorded range with events stays recorded and unchanged until the committed offset has
//     reached its end.
//  4. A request contains the events of a recorded range, or a part of them produced by repeated
//     halving.
//  5. All requests under one payload ID have the same body, formed from one range of one log.
//  6. No event is counted under two payload IDs.
//
// Truncating a log or recreating a topic loses records by definition. The rules then apply to the
// records that remain and to new ones, with two exceptions. A recorded range that extends beyond
// the truncation may change, and the events of a batch split by the truncation may count twice.
//
// The exhaustive search in package consumer and the soak test both use Observer.
package model
