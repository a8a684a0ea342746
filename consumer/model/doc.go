// Package model checks the steps of the commit protocol of package consumer. It is only for tests;
// the program does not link it.
//
// An [Observer] receives the externally visible steps in order of time: commits applied by the
// broker, requests received by LaunchDarkly, dead letters written, and injected faults that excuse
// other steps. It returns an error for each step that a correct consumer never makes, even if there
// are crashes, rebalances, and lost or late messages:
//
//  1. A committed offset never decreases.
//  2. A committed offset never passes a record until the record is filtered, delivered, or
//     dead-lettered.
//  3. A recorded range with events stays recorded and unchanged until the offset has passed all of
//     it.
//  4. A request holds the events of a recorded range, or of a part that results from halving it.
//  5. All requests under one payload ID have the same body, formed from one range of one log.
//  6. No event is counted under two payload IDs.
//
// Truncating a log or recreating a topic loses records by definition. The rules then hold for the
// remaining and the new records, with two exceptions. A range recorded earlier may change if it
// extends beyond the truncation, and the events of a batch split by the truncation may count twice.
//
// The exhaustive search in package consumer and the soak test use the same Observer.
package model
