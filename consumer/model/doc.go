// Package model says which steps the commit protocol of package consumer allows. It is for tests;
// the program does not link it.
//
// An [Observer] is fed what can be seen from outside, in order of time: commits as the broker
// applied them, requests as LaunchDarkly received them, dead letters as they were written, and the
// provoked faults that excuse a step. It returns an error for each step that a correct consumer
// cannot make, regardless of crashes, rebalances, and lost or late messages:
//
//  1. A committed offset never goes back.
//  2. A committed offset never passes a record that is neither filtered, delivered, nor
//     dead-lettered.
//  3. A recorded range with events stays recorded, and unchanged, until the offset has passed it
//     whole.
//  4. A request holds the events of a recorded range, or of a part of one that halving produces.
//  5. A payload ID carries one body, which comes from one range of one log.
//  6. No event is counted under two payload IDs.
//
// When a log is truncated or a topic is recreated, records are lost by definition. The rules then
// hold for the records that are left and for the new ones, with two exceptions: a range that was
// recorded before may change if it reaches beyond the truncation, and the events of a batch that
// the truncation cut in two may count twice.
//
// The search of every schedule in package consumer and the soak test feed the same Observer.
package model
