//go:build unix

package main

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// Apache Kafka differs from the embedded broker in its TLS and SASL failures and in the permissions
// on missing topics and groups.
func TestCheckOnApacheKafka(t *testing.T) {
	users := map[string]string{"alice": "right", "bob": "right"}
	issuer, err := kafkatest.NewIssuer(5 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	kafka := kafkatest.NewApache(t, kafkatest.ApacheConfig{Nodes: 1, Users: users, Issuer: issuer})
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
	describe := kadm.NewACLs().Topics("segment", "dead").Groups("g").Operations(kadm.OpDescribe)
	if err := kafka.Allow(t.Context(), "bob", describe); err != nil {
		t.Fatal(err)
	}
	by := func(l kafkatest.Listener) *world { return newWorldWith(t, kafka.BrokersBy(l)[0]) }
	const ca = "S2LD_KAFKA_TLS_CA_FILE="

	by(kafkatest.Plain).check(t, okConfig, okBroker, okTopic, okDead, okGroup, okLD, skipID)
	by(kafkatest.Plain).set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer").check(t, okConfig, okBroker, okTopic, okDead,
		okGroup+"...session timeout: 6s (consumer.session.timeout.ms of the group)", okLD, skipID)
	by(kafkatest.Plain).set("S2LD_KAFKA_TOPICS=segmnt").check(t, okConfig, okBroker,
		"FAIL  topic segmnt: does not exist. Create the topic", okDead, okGroup, okLD, skipID)
	by(kafkatest.Plain).set("S2LD_KAFKA_TLS_ENABLED=true").check(t, okConfig,
		"FAIL  broker BROKER: ...The listener might not support TLS", noBroker, okLD, skipID)

	by(kafkatest.Plain).set("S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=bob",
		"S2LD_KAFKA_SASL_PASSWORD=right").check(t, okConfig,
		"FAIL  broker BROKER: ...The listener does not use SASL. Remove kafka.sasl.mechanism", noBroker, okLD, skipID)

	by(kafkatest.TLS).check(t, okConfig,
		"FAIL  broker BROKER: ...or set kafka.tls.enabled if the listener requires TLS.", noBroker, okLD, skipID)
	by(kafkatest.TLS).set("S2LD_KAFKA_TLS_ENABLED=true").check(t, okConfig,
		"FAIL  broker BROKER: ...not signed by a trusted authority. Fix kafka.tls.ca_file.", noBroker, okLD, skipID)
	by(kafkatest.TLS).set("S2LD_KAFKA_TLS_ENABLED=true", ca+kafka.CAFile()).
		check(t, okConfig, okBroker+" with TLS", okTopic, okDead, okGroup, okLD, skipID)

	own, err := kafka.ClientCert("alice")
	if err != nil {
		t.Fatal(err)
	}
	mutual := by(kafkatest.MutualTLS).set("S2LD_KAFKA_TLS_ENABLED=true", ca+kafka.CAFile())
	mutual.check(t, okConfig, "FAIL  broker BROKER: ...Fix kafka.tls.cert_file and kafka.tls.key_file",
		noBroker, okLD, skipID)
	mutual.set("S2LD_KAFKA_TLS_CERT_FILE="+own, "S2LD_KAFKA_TLS_KEY_FILE="+own).
		check(t, okConfig, okBroker+" with TLS", okTopic, okDead, okGroup, okLD, skipID)

	sasl := by(kafkatest.SASLTLS).set("S2LD_KAFKA_TLS_ENABLED=true", ca+kafka.CAFile())
	sasl.check(t, okConfig, "FAIL  broker BROKER: ...or might require SASL", noBroker, okLD, skipID)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		sasl.set("S2LD_KAFKA_SASL_MECHANISM="+mechanism, "S2LD_KAFKA_SASL_USERNAME=alice", "S2LD_KAFKA_SASL_PASSWORD=wrong")
		sasl.check(t, okConfig, "FAIL  broker BROKER: ...The broker rejected the credentials. Fix kafka.sasl.",
			noBroker, okLD, skipID)
		sasl.set("S2LD_KAFKA_SASL_PASSWORD=right")
		sasl.check(t, okConfig, okBroker+" with TLS and SASL "+mechanism, okTopic, okDead, okGroup, okLD, skipID)
	}
	sasl.set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer").check(t, okConfig, okBroker, okTopic, okDead,
		okGroup+"...session timeout: not readable, 45s by default", okLD, skipID)
	sasl.set("S2LD_KAFKA_REBALANCE_PROTOCOL=classic")
	sasl.set("S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_TOKEN=t").
		check(t, okConfig, "FAIL  broker BROKER: ...Fix kafka.sasl.mechanism.", noBroker, okLD, skipID)

	by(kafkatest.SASL).set("S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_OAUTH_TOKEN_URL="+issuer.TokenURL(),
		"S2LD_KAFKA_SASL_OAUTH_CLIENT_ID=alice", "S2LD_KAFKA_SASL_OAUTH_CLIENT_SECRET="+issuer.Secret).
		check(t, okConfig, "ok    kafka.sasl: OAuth token from "+issuer.TokenURL()+" for client alice, valid for 5m",
			okBroker+" with SASL OAUTHBEARER", okTopic, okDead, okGroup, okLD, skipID)

	bob := by(kafkatest.SASL).set(
		"S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=bob", "S2LD_KAFKA_SASL_PASSWORD=right")
	bob.check(t, okConfig, okBroker,
		"FAIL  topic segment: READ is not granted to this user. Grant READ on the topic to this user.",
		"FAIL  dead-letter topic dead: WRITE is not granted to this user. Grant WRITE on the topic to this user.",
		"FAIL  group g: READ is not granted to this user. Grant READ on the group",
		okLD, skipID)
	bob.set("S2LD_KAFKA_TOPICS=other", "S2LD_KAFKA_GROUP=other", "S2LD_DEAD_LETTERS_TOPIC=").check(t, okConfig, okBroker,
		"FAIL  topic other: not visible to this user. Grant READ on the topic to this user.",
		"FAIL  group other: not visible to this user. Grant READ on the group",
		okLD, skipID)
}
