// Package kafkatest runs Kafka for tests. It offers a broker embedded in the test process, which
// needs no setup, and Apache Kafka as processes on loopback, which needs Java and the jars from
// `make kafka`. The functions in admin.go work with both.
//
// Tests that need Apache Kafka call [NewApache]. They are skipped unless KAFKA_TEST is set in the
// environment. If it is set, they fail when Kafka is missing or broken.
package kafkatest
