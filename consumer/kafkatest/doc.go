// Package kafkatest runs Kafka for tests. The embedded broker runs in the test process and needs no
// setup. Apache Kafka runs in separate processes on loopback, and needs Java and the jars from
// `make kafka`. The functions in admin.go work with both.
//
// Tests that need Apache Kafka call [NewApache]. Unless KAFKA_TEST is set in the environment, these
// tests are skipped. With KAFKA_TEST set, they fail if Kafka is missing or broken.
package kafkatest
