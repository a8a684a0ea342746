//go:build unix

package main

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// What the embedded broker does not do as Kafka does: refusals of TLS and SASL, and rights on what does not exist.
func TestCheckOnApacheKafka(t *testing.T) {
	kafka := kafkatest.NewApache(t, kafkatest.ApacheConfig{Nodes: 1, Users: map[string]string{"alice": "right", "bob": "right"}})
	for _, topic := range []string{"segment", "dead"} {
		if err := kafkatest.CreateTopic(t.Context(), kafka.Brokers(), topic, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, acls := range []*kadm.ACLBuilder{
		kadm.NewACLs().Topics("segment").Groups("g").Operations(kadm.OpRead),
		kadm.NewACLs().Topics("dead").Operations(kadm.OpWrite),
	} {
		if err := kafka.Allow(t.Context(), "alice", acls); err != nil {
			t.Fatal(err)
		}
	}
	if err := kafka.Allow(t.Context(), "bob", kadm.NewACLs().Topics("segment", "dead").Groups("g").Operations(kadm.OpDescribe)); err != nil {
		t.Fatal(err)
	}
	by := func(l kafkatest.Listener) *world { return newWorldAround(t, kafka.BrokersBy(l)[0]) }
	const ca = "S2LD_KAFKA_TLS_CA_FILE="

	by(kafkatest.Plain).check(t, okConfig, okBroker, okTopic, okDead, okGroup, okLD, skipID)
	by(kafkatest.Plain).set("S2LD_KAFKA_TOPICS=segmnt").check(t, okConfig, okBroker,
		"FAIL  topic segmnt: does not exist. ...Create it", okDead, okGroup, okLD, skipID)
	by(kafkatest.Plain).set("S2LD_KAFKA_TLS_ENABLED=true").check(t, okConfig,
		"FAIL  broker BROKER: ...This listener may not speak TLS", noBroker, okLD, skipID)

	by(kafkatest.TLS).check(t, okConfig, "FAIL  broker BROKER: ...or whether it wants TLS: kafka.tls.enabled.", noBroker, okLD, skipID)
	by(kafkatest.TLS).set("S2LD_KAFKA_TLS_ENABLED=true").check(t, okConfig,
		"FAIL  broker BROKER: ...not trusted: correct kafka.tls.ca_file.", noBroker, okLD, skipID)
	by(kafkatest.TLS).set("S2LD_KAFKA_TLS_ENABLED=true", ca+kafka.CAFile()).check(t, okConfig, okBroker+", TLS", okTopic, okDead, okGroup, okLD, skipID)

	own, err := kafka.ClientCert("alice")
	if err != nil {
		t.Fatal(err)
	}
	mutual := by(kafkatest.MutualTLS).set("S2LD_KAFKA_TLS_ENABLED=true", ca+kafka.CAFile())
	mutual.check(t, okConfig, "FAIL  broker BROKER: ...correct kafka.tls.cert_file and key_file", noBroker, okLD, skipID)
	mutual.set("S2LD_KAFKA_TLS_CERT_FILE="+own, "S2LD_KAFKA_TLS_KEY_FILE="+own).
		check(t, okConfig, okBroker+", TLS", okTopic, okDead, okGroup, okLD, skipID)

	sasl := by(kafkatest.SASLTLS).set("S2LD_KAFKA_TLS_ENABLED=true", ca+kafka.CAFile())
	sasl.check(t, okConfig, "FAIL  broker BROKER: ...or may want SASL", noBroker, okLD, skipID)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		sasl.set("S2LD_KAFKA_SASL_MECHANISM="+mechanism, "S2LD_KAFKA_SASL_USERNAME=alice", "S2LD_KAFKA_SASL_PASSWORD=wrong")
		sasl.check(t, okConfig, "FAIL  broker BROKER: ...The broker refuses the credentials: correct kafka.sasl.", noBroker, okLD, skipID)
		sasl.set("S2LD_KAFKA_SASL_PASSWORD=right")
		sasl.check(t, okConfig, okBroker+", TLS, SASL "+mechanism, okTopic, okDead, okGroup, okLD, skipID)
	}
	sasl.set("S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_TOKEN=t").
		check(t, okConfig, "FAIL  broker BROKER: ...correct kafka.sasl.mechanism.", noBroker, okLD, skipID)

	bob := by(kafkatest.SASL).set("S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=bob", "S2LD_KAFKA_SASL_PASSWORD=right")
	bob.check(t, okConfig, okBroker,
		"FAIL  topic segment: exists, but this user may not READ it. ...Grant READ on the topic to this user.",
		"FAIL  dead letters' topic dead: exists, but this user may not WRITE it. ...Grant WRITE on the topic to this user.",
		"FAIL  group g: this user may not join it or commit. ...Grant READ on the group",
		okLD, skipID)
	bob.set("S2LD_KAFKA_TOPICS=other", "S2LD_KAFKA_GROUP=other", "S2LD_DEAD_LETTERS_TOPIC=").check(t, okConfig, okBroker,
		"FAIL  topic other: may not be seen by this user. ...Grant READ on the topic to this user.",
		"FAIL  group other: may not be read by this user. ...Grant READ on the group",
		okLD, skipID)
}
