// Package kafkatest runs Kafka for tests: a broker embedded in the process, which needs nothing,
// and Apache Kafka from its jars as processes on loopback, which needs Java and `make kafka`. The
// functions of admin.go serve both.
//
// Tests on Apache Kafka call [NewApache]. They are left out unless the environment has KAFKA_TEST;
// with it, a missing or broken Kafka fails them.
package kafkatest
