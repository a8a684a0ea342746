package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// world is the environment of a command: a broker, a fake LaunchDarkly, and environment variables.
type world struct {
	broker *kfake.Cluster // nil for a broker passed to newWorldWith
	addr   string         // address of the broker
	sys    system
}

func newWorld(t *testing.T, opts ...kfake.Opt) *world {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, "segment", "dead")}, opts...)
	broker, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	w := newWorldWith(t, broker.ListenAddrs()[0])
	w.broker = broker
	return w
}

// newWorldWith is like newWorld, but uses a broker that is already running.
func newWorldWith(t *testing.T, addr string) *world {
	t.Helper()
	ld := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(ld.Close)
	w := &world{addr: addr}
	return w.set(
		"S2LD_KAFKA_BROKERS="+addr, "S2LD_KAFKA_TOPICS=segment", "S2LD_DEAD_LETTERS_TOPIC=dead", "S2LD_KAFKA_GROUP=g",
		"S2LD_LAUNCHDARKLY_EVENTS_URL="+ld.URL, "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc",
		"S2LD_LAUNCHDARKLY_EVENT_SCHEMA=3")
}

// set sets environment variables, and replaces earlier values.
func (w *world) set(environ ...string) *world {
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		w.sys.environ = append(slices.DeleteFunc(w.sys.environ, func(old string) bool {
			return strings.HasPrefix(old, name+"=")
		}), e)
	}
	return w
}

// check runs the check command and compares its output, line by line. An element of want is the
// start of a line, optionally followed by "..." and a text that the line contains. BROKER stands
// for the broker's address.
func (w *world) check(t *testing.T, want ...string) {
	t.Helper()
	out, stderr, code := run(w.sys, "check")
	out = strings.ReplaceAll(out, w.addr, "BROKER")
	wantCode := 0
	if slices.ContainsFunc(want, func(s string) bool { return strings.HasPrefix(s, "FAIL") }) {
		wantCode = exitFailure
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	matches := len(lines) == len(want) && code == wantCode && stderr == ""
	for i := range min(len(lines), len(want)) {
		start, contained, _ := strings.Cut(want[i], "...")
		matches = matches && strings.HasPrefix(lines[i], start) && strings.Contains(lines[i], contained)
	}
	if !matches {
		t.Errorf("exit %d, want %d; %s\n%s\nwant\n%s", code, wantCode, stderr, out, strings.Join(want, "\n"))
	}
}

const (
	okConfig  = "ok    configuration: valid"
	okBroker  = "ok    broker BROKER: connected"
	okTopic   = "ok    topic segment: exists (partitions: 3)"
	okDead    = "ok    dead-letter topic dead: exists (partitions: 3)"
	okGroup   = "ok    group g: accessible, no committed offsets, starts at earliest"
	okOffsets = "ok    group g: accessible (partitions with committed offsets: 1)"
	okLD      = "ok    launchdarkly.events_url http://127.0.0.1:"
	skipID    = "skip  launchdarkly.client_side_id abc: can be checked only for events.launchdarkly.com"
	noBroker  = "skip  topics and group: no broker is reachable"
)

func TestCheckPassesWhenEverythingWorks(t *testing.T) {
	newWorld(t).check(t, okConfig, okBroker, okTopic, okDead, okGroup, okLD, skipID)
}

func TestCheckReportsTheExpectedRequests(t *testing.T) {
	w := newWorld(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.DefaultProduceTopic("segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	old := &kgo.Record{Value: []byte(aCall), Timestamp: time.Now().Add(-time.Hour)}
	if err := client.ProduceSync(t.Context(), old).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.check(t, okConfig, okBroker, okTopic, okDead,
		okGroup+", records ahead: 1, expected requests per second: at most 0.60 (partitions / batch.max_age)",
		okLD, skipID)
	for range 30 { // 0.05 events per second, in one partition
		w.produce(t, aCall, `{"type":"identify","userId":"u"}`)
	}
	w.check(t, okConfig, okBroker, okTopic, okDead,
		okGroup+", records ahead: 61, expected requests per second: 0.04 (at the rate of the last 10 minutes)",
		okLD, skipID)
}

func TestCheckReportsAllConfigurationProblemsAndStops(t *testing.T) {
	w := newWorld(t).set("S2LD_KAFKA_BROKER=x", "S2LD_BATCH_MAX_EVENTS=0",
		"S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE=/nowhere/token")
	w.check(t,
		"FAIL  configuration: S2LD_KAFKA_BROKER: unknown variable; did you mean S2LD_KAFKA_BROKERS?",
		"FAIL  configuration: batch.max_events: must be at least 1, got 0 (S2LD_BATCH_MAX_EVENTS)",
		"FAIL  configuration: launchdarkly.access_token_file: cannot read /nowhere/token: ")
	out, _, code := run(system{}, "check", "--config", "/nowhere/config.yaml")
	want := "FAIL  configuration: read configuration: open /nowhere/config.yaml"
	if code != exitFailure || !strings.HasPrefix(out, want) {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestCheckOfflineMakesNoConnections(t *testing.T) {
	w := newWorld(t).set("S2LD_KAFKA_BROKERS=127.0.0.1:1", "S2LD_LAUNCHDARKLY_EVENTS_URL=http://127.0.0.1:1",
		"S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE=/nowhere/token")
	if out, _, code := run(w.sys, "check", "--offline"); code != 0 || out != okConfig+"\n"+
		"warn  configuration: launchdarkly.access_token_file: has no effect for endpoint client_side "+
		"(S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE)\n" {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestCheckOfUnreachableBrokers(t *testing.T) {
	w := newWorld(t)
	w.set("S2LD_KAFKA_BROKERS=127.0.0.1:1,nowhere.invalid:9092,"+w.addr).check(t, okConfig,
		"FAIL  broker 127.0.0.1:1: ...Nothing is listening on this address. Fix kafka.brokers or start the server.",
		"FAIL  broker nowhere.invalid:9092: ...The host name cannot be resolved. Fix kafka.brokers or this host's DNS",
		okBroker, okTopic, okDead, okGroup, okLD, skipID)
	w.set("S2LD_KAFKA_BROKERS=127.0.0.1:1").check(t, okConfig, "FAIL  broker 127.0.0.1:1: ", noBroker, okLD, skipID)
}

func TestCheckConnectsToAdvertisedBrokers(t *testing.T) {
	w := newWorld(t, kfake.NumBrokers(2))
	other := w.broker.ListenAddrs()[1]
	w.check(t, okConfig, okBroker, "ok    broker "+other+" (advertised, ID 1): connected",
		okTopic, okDead, okGroup, okLD, skipID)

	w = newWorld(t)
	host, _, err := net.SplitHostPort(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	w.broker.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = 7, host, 1
		resp.Brokers = append(resp.Brokers, b)
		return resp, nil, len(req.(*kmsg.MetadataRequest).Topics) == 0
	})
	out, _, code := run(w.sys, "check")
	want := "FAIL  broker 127.0.0.1:1 (advertised, ID 7): "
	if code != exitFailure || !strings.Contains(out, want) || !strings.Contains(out, "advertised.listeners") {
		t.Errorf("exit %d, want %s\n%s", code, want, out)
	}
}

func TestCheckOfTLS(t *testing.T) {
	source := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1 and example.com
	defer source.Close()
	certificate := &pem.Block{Type: "CERTIFICATE", Bytes: source.Certificate().Raw}
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(certificate)))
	server := &tls.Config{Certificates: source.TLS.Certificates}
	w := newWorld(t, kfake.TLS(server))

	w.check(t, okConfig, "FAIL  broker BROKER: the broker closed the connection immediately. ...Set kafka.tls.enabled",
		noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_TLS_ENABLED=true")
	w.check(t, okConfig, "FAIL  broker BROKER: ...not signed by a trusted authority. Fix kafka.tls.ca_file.",
		noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_TLS_CA_FILE=" + ca)
	w.check(t, okConfig, okBroker+" with TLS", okTopic, okDead, okGroup, okLD, skipID)
	w.set("S2LD_KAFKA_TLS_SERVER_NAME=kafka.test")
	w.check(t, okConfig, "FAIL  broker BROKER: ...Fix kafka.brokers or set kafka.tls.server_name.",
		noBroker, okLD, skipID)

	server = server.Clone()
	server.ClientAuth = tls.RequireAnyClientCert
	w = newWorld(t, kfake.TLS(server)).set("S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_TLS_CA_FILE="+ca)
	w.check(t, okConfig, "FAIL  broker BROKER: ...Fix kafka.tls.cert_file and kafka.tls.key_file", noBroker, okLD, skipID)

	// A broker parses the TLS ClientHello as a request of an impossible size and closes the
	// connection.
	closing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			conn, err := closing.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			conn.Close()
		}
	}()
	defer func() { closing.Close(); <-closed }()
	w = newWorld(t).set("S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_BROKERS="+closing.Addr().String())
	w.check(t, okConfig, "FAIL  broker 127.0.0.1:...The listener might not support TLS", noBroker, okLD, skipID)
}

func TestCheckOfAWSIdentity(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_ACCESS_KEY_ID": "", "AWS_SESSION_TOKEN": "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
	} {
		t.Setenv(name, value)
	}
	source := httptest.NewTLSServer(nil)
	defer source.Close()
	certificate := &pem.Block{Type: "CERTIFICATE", Bytes: source.Certificate().Raw}
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(certificate)))
	w := newWorld(t, kfake.TLS(&tls.Config{Certificates: source.TLS.Certificates}))
	w.set("S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_TLS_CA_FILE="+ca, "S2LD_KAFKA_SASL_MECHANISM=AWS_MSK_IAM")
	out, _, code := run(w.sys, "check", "--offline")
	if code != 0 || !strings.HasPrefix(out, okConfig+"\n") || strings.Contains(out, "AWS") {
		t.Errorf("offline: exit %d\n%s", code, out)
	}
	w.check(t, okConfig, "FAIL  configuration: kafka.sasl.aws.region: must be set", okLD, skipID)
	w.set("S2LD_KAFKA_SASL_AWS_REGION=eu-west-1")
	w.check(t, okConfig, "FAIL  kafka.sasl: no AWS credentials found: ...Give the pod, task, or instance an IAM role",
		"skip  brokers, topics, and group: no credentials", okLD, skipID)

	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	var rejects bool
	w.broker.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.KeepControl()
		return req.ResponseKind(), nil, true
	})
	w.broker.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.KeepControl()
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.SASLAuthBytes = []byte("{}")
		if rejects {
			resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
			resp.ErrorMessage = new("Access denied")
		}
		return resp, nil, true
	})
	const ok = "ok    kafka.sasl: AWS identity: environment variables, region eu-west-1"
	w.check(t, okConfig, ok, okBroker+" with TLS and SASL AWS_MSK_IAM", okTopic, okDead, okGroup, okLD, skipID)
	rejects = true
	w.check(t, okConfig, ok, "FAIL  broker BROKER: ...Grant it kafka-cluster:Connect, DescribeGroup, "+
		"AlterGroup, DescribeTopic, and ReadData, and WriteData for dead letters.", noBroker, okLD, skipID)
}

func TestCheckOfSASL(t *testing.T) {
	w := newWorld(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "user", "right"))
	w.check(t, okConfig, "FAIL  broker BROKER: ...Set kafka.tls.enabled or kafka.sasl", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_SASL_MECHANISM=scram-sha-256", "S2LD_KAFKA_SASL_USERNAME=user", "S2LD_KAFKA_SASL_PASSWORD=wrong")
	w.check(t, okConfig, "FAIL  broker BROKER: ...rejected the credentials. Fix kafka.sasl.", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_SASL_PASSWORD=right")
	w.check(t, okConfig, okBroker+" with SASL SCRAM-SHA-256", okTopic, okDead, okGroup, okLD, skipID)
	w = newWorld(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right"))
	w.set("S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=user", "S2LD_KAFKA_SASL_PASSWORD=wrong")
	w.check(t, okConfig, "FAIL  broker BROKER: ...rejected the credentials. Fix kafka.sasl.", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_TOKEN=right")
	w.check(t, okConfig, "FAIL  broker BROKER: ...Fix kafka.sasl.mechanism.", noBroker, okLD, skipID)

	w = newWorld(t).set(
		"S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=user", "S2LD_KAFKA_SASL_PASSWORD=right")
	w.check(t, okConfig, "FAIL  broker BROKER: ...If the listener does not use SASL, fix the port.",
		noBroker, okLD, skipID)
	w.broker.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.KeepControl()
		resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.ErrorCode = kerr.IllegalSaslState.Code // Apache Kafka's response
		return resp, nil, true
	})
	w.check(t, okConfig,
		"FAIL  broker BROKER: ILLEGAL_SASL_STATE...The listener does not use SASL. Remove kafka.sasl.mechanism",
		noBroker, okLD, skipID)
}

func TestCheckOfOAuth(t *testing.T) {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("client_assertion") != "right" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"t","expires_in":300}`)
	}))
	defer issuer.Close()
	w := newWorld(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right")).set(
		"S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_OAUTH_TOKEN_URL="+issuer.URL+"/token",
		"S2LD_KAFKA_SASL_OAUTH_CLIENT_ID=me", "S2LD_KAFKA_SASL_OAUTH_ASSERTION_FILE="+writeFile(t, "jwt", "right"))
	w.check(t, okConfig, "ok    kafka.sasl: OAuth token from "+issuer.URL+"/token for client me, valid for 5m",
		"FAIL  broker BROKER: ...Fix kafka.sasl.mechanism.", noBroker, okLD, skipID) // which kfake does not support
	w.set("S2LD_KAFKA_SASL_OAUTH_ASSERTION_FILE="+writeFile(t, "jwt", "wrong")).check(t, okConfig,
		"FAIL  kafka.sasl: request an OAuth token from "+issuer.URL+"/token: 401 Unauthorized: invalid_client. "+
			"Fix kafka.sasl.oauth.client_id", "skip  brokers, topics, and group: no credentials", okLD, skipID)
	w.set("S2LD_KAFKA_SASL_OAUTH_TOKEN_URL=http://127.0.0.1:1").check(t, okConfig,
		"FAIL  kafka.sasl: ...Fix kafka.sasl.oauth.token_url", "skip  brokers", okLD, skipID)
}

// A new cluster has no coordinator before it has created the topic of the committed offsets.
func TestCheckWaitsForTheCoordinator(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress} {
		w := newWorld(t)
		fault := w.broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: code, Count: 3})
		w.check(t, okConfig, okBroker, okTopic, okDead, okGroup, okLD, skipID)
		if n := fault.Hits(); n != 3 {
			t.Errorf("%v: %d requests rejected, want 3", code, n)
		}
	}
}

func TestCheckOfTopics(t *testing.T) {
	newWorld(t).set("S2LD_KAFKA_TOPICS=segmnt,segment", "S2LD_DEAD_LETTERS_TOPIC=none").check(t, okConfig, okBroker,
		"FAIL  topic segmnt: does not exist. Create the topic or fix kafka.topics.",
		okTopic,
		"FAIL  dead-letter topic none: does not exist. Create the topic or fix dead_letters.topic.",
		okGroup, okLD, skipID)
	newWorld(t).set("S2LD_DEAD_LETTERS_TOPIC=").check(t, okConfig, okBroker, okTopic, okGroup, okLD, skipID)
}

// Brokers before Kafka 4.0 have at most a preview of the consumer protocol. kgo would fall back to
// the classic protocol, so check fails.
func TestCheckOfConsumerProtocol(t *testing.T) {
	w := newWorld(t, kfake.BrokerConfigs(map[string]string{"group.consumer.session.timeout.ms": "50000"})).
		set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer")
	w.check(t, okConfig, okBroker, okTopic, okDead, okGroup+"...session timeout: 50s (group.consumer", okLD, skipID)
	respond := func(kind kmsg.ConfigResourceType, name string, err *kerr.Error, value string) {
		w.broker.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.broker.KeepControl()
			request := r.(*kmsg.DescribeConfigsRequest)
			if request.Resources[0].ResourceType != kind {
				return nil, nil, false
			}
			resource := kmsg.DescribeConfigsResponseResource{ResourceType: kind, ResourceName: request.Resources[0].ResourceName}
			if err != nil {
				resource.ErrorCode = err.Code
			} else {
				resource.Configs = []kmsg.DescribeConfigsResponseResourceConfig{{Name: name, Value: &value}}
			}
			response := request.ResponseKind().(*kmsg.DescribeConfigsResponse)
			response.Resources = []kmsg.DescribeConfigsResponseResource{resource}
			return response, nil, true
		})
	}
	respond(kmsg.ConfigResourceTypeBroker, "", kerr.ClusterAuthorizationFailed, "")
	w.check(t, okConfig, okBroker, okTopic, okDead, okGroup+"...session timeout: not readable, 45s by default",
		okLD, skipID)
	respond(kmsg.ConfigResourceTypeGroupConfig, "consumer.session.timeout.ms", nil, "46000")
	w.check(t, okConfig, okBroker, okTopic, okDead,
		okGroup+"...session timeout: 46s (consumer.session.timeout.ms of the group)", okLD, skipID)
	w = newWorld(t, kfake.MaxVersions(kversion.V3_9_0())).set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer")
	w.check(t, okConfig, okBroker, okTopic, okDead,
		"FAIL  group g: ...Upgrade the brokers or set kafka.rebalance_protocol to classic.", okLD, skipID)
}

func TestCheckOfTopicWithoutLeader(t *testing.T) {
	w := newWorld(t)
	w.broker.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.KeepControl()
		topics := req.(*kmsg.MetadataRequest).Topics
		if len(topics) == 0 || *topics[0].Topic != "segment" {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = topics[0].Topic
		partition := kmsg.NewMetadataResponseTopicPartition()
		partition.ErrorCode = kerr.LeaderNotAvailable.Code
		topic.Partitions = append(topic.Partitions, partition)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	w.check(t, okConfig, okBroker, "FAIL  topic segment: partition 0: LEADER_NOT_AVAILABLE...without a leader",
		okDead, okGroup, okLD, skipID)
}

func TestCheckOfPermissions(t *testing.T) {
	allow := func(resource kmsg.ACLResourceType, name string, ops ...kmsg.ACLOperation) (acls []kfake.ACL) {
		for _, op := range ops {
			acls = append(acls, kfake.ACL{
				Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral,
				Operation: op, Allow: true,
			})
		}
		return acls
	}
	const topic, group = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup
	const read, write, describe = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	restricted := func(acls ...[]kfake.ACL) *world {
		w := newWorld(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"),
			kfake.User("PLAIN", "user", "pass", slices.Concat(acls...)...))
		// The embedded broker, unlike Kafka, checks no permissions on a missing group, so create
		// one.
		auth := plain.Auth{User: "admin", Pass: "admin"}
		admin, err := kadm.NewOptClient(kgo.SeedBrokers(w.addr), kgo.SASL(auth.AsMechanism()))
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		offsets := kadm.Offsets{}
		offsets.AddOffset("segment", 0, 0, -1)
		if _, err := admin.CommitOffsets(t.Context(), "g", offsets); err != nil {
			t.Fatal(err)
		}
		return w.set("S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=user", "S2LD_KAFKA_SASL_PASSWORD=pass")
	}
	const (
		grantRead  = "Grant READ on the topic to this user."
		grantWrite = "Grant WRITE on the topic to this user."
		grantGroup = "Grant READ on the group to this user"
	)
	restricted(allow(topic, "segment", read), allow(topic, "dead", write), allow(group, "g", read)).
		check(t, okConfig, okBroker, okTopic, okDead, okOffsets, okLD, skipID)
	restricted().check(t, okConfig, okBroker,
		"FAIL  topic segment: not visible to this user. "+grantRead,
		"FAIL  dead-letter topic dead: not visible to this user. "+grantWrite,
		"FAIL  group g: not visible to this user. "+grantGroup,
		okLD, skipID)
	restricted(allow(topic, "segment", describe), allow(topic, "dead", read), allow(group, "g", describe)).
		check(t, okConfig, okBroker,
			"FAIL  topic segment: READ is not granted to this user. "+grantRead,
			"FAIL  dead-letter topic dead: WRITE is not granted to this user. "+grantWrite,
			"FAIL  group g: READ is not granted to this user. "+grantGroup,
			okLD, skipID)
}

func TestCheckOfGroup(t *testing.T) {
	w := newWorld(t)
	join := func(balancer kgo.GroupBalancer) *kgo.Client {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		cl, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.ConsumeTopics("segment"), kgo.ConsumerGroup("g"),
			kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "segment", Value: []byte(aCall)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.CommitRecords(ctx, cl.PollFetches(ctx).Records()...); err != nil {
			t.Fatal(err)
		}
		return cl
	}
	member := join(kgo.RangeBalancer())
	w.check(t, okConfig, okBroker, okTopic, okDead,
		"FAIL  group g: its members (1) use range assignment...Stop these members before you start this program",
		okLD, skipID)
	w.set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer").
		check(t, okConfig, okBroker, okTopic, okDead, okOffsets, okLD, skipID)
	w.set("S2LD_KAFKA_REBALANCE_PROTOCOL=classic")
	member.Close()
	w.check(t, okConfig, okBroker, okTopic, okDead, okOffsets, okLD, skipID)
}

// launchDarkly is an [http.RoundTripper] that replaces LaunchDarkly's hosts. It maps method and URL
// to a status. Requests without a status fail.
type launchDarkly map[string]int

func (ld launchDarkly) RoundTrip(req *http.Request) (*http.Response, error) {
	code := ld[req.Method+" "+req.URL.String()]
	if code == 0 {
		return nil, errors.New("no such address: " + req.URL.String())
	}
	header := http.Header{"Location": {"https://user:secret@elsewhere.test/?secret"}}
	return &http.Response{StatusCode: code, Body: http.NoBody, Request: req, Header: header}, nil
}

func TestCheckOfLaunchDarkly(t *testing.T) {
	const events = "https://events.launchdarkly.com"
	w := newWorld(t).set("S2LD_LAUNCHDARKLY_EVENTS_URL=" + events)
	kafka := []string{okConfig, okBroker, okTopic, okDead, okGroup}
	for _, c := range []struct {
		responses launchDarkly
		want      []string
	}{
		{
			launchDarkly{"GET " + events: 404, "HEAD " + goalsURL + "abc": 200},
			[]string{
				"ok    launchdarkly.events_url " + events + ": reachable (GET returned 404)",
				"ok    launchdarkly.client_side_id abc: exists in LaunchDarkly",
			},
		},
		{
			launchDarkly{"GET " + events: 301, "HEAD " + goalsURL + "abc": 404},
			[]string{
				"ok    launchdarkly.events_url " + events + ": reachable (GET returned 301, a redirect to elsewhere.test/)",
				"FAIL  launchdarkly.client_side_id abc: does not exist in LaunchDarkly. Copy the client-side ID",
			},
		},
		{
			launchDarkly{"GET " + events: 404, "HEAD " + goalsURL + "abc": 503},
			[]string{"ok    launchdarkly.events_url", "skip  launchdarkly.client_side_id abc: ...status 503"},
		},
		{
			launchDarkly{"GET " + events: 404},
			[]string{"ok    launchdarkly.events_url", "skip  launchdarkly.client_side_id abc: ...no such address"},
		},
		{
			launchDarkly{},
			[]string{
				"FAIL  launchdarkly.events_url " + events + ": no such address: " + events + ". " +
					"Fix launchdarkly.events_url",
			},
		},
	} {
		w.sys.transport = c.responses
		w.check(t, slices.Concat(kafka, c.want)...)
	}
	w.sys.transport = launchDarkly{"GET " + events: 404}
	w.set("S2LD_LAUNCHDARKLY_ENDPOINT=metric_import", "S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4",
		"S2LD_LAUNCHDARKLY_ACCESS_TOKEN=hunter2", "S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=e")
	w.check(t, slices.Concat(
		[]string{okConfig, "warn  configuration: launchdarkly.client_side_id: has no effect for endpoint metric_import"},
		kafka[1:], []string{"ok    launchdarkly.events_url", "skip  launchdarkly.access_token: "})...)
}

func TestCheckDetectsARelayProxy(t *testing.T) {
	for status, relay := range map[string]bool{
		`{"environments":{},"status":"healthy","version":"8.10.5","clientVersion":"7"}`: true,
		`{"environments":[],"version":"8"}`:                                             false,
		`{"status":"healthy","version":"8"}`:                                            false,
		`ok`:                                                                            false,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/status" {
				_, _ = io.WriteString(w, status)
			}
		}))
		want := []string{okLD, skipID}
		if relay {
			want = []string{"FAIL  launchdarkly.events_url http://127.0.0.1:...is a LaunchDarkly Relay Proxy. "}
		}
		newWorld(t).set("S2LD_LAUNCHDARKLY_EVENTS_URL="+server.URL).
			check(t, slices.Concat([]string{okConfig, okBroker, okTopic, okDead, okGroup}, want)...)
		server.Close()
	}
}

func TestCheckOfEventsURL(t *testing.T) {
	https := httptest.NewUnstartedServer(http.NotFoundHandler())
	https.Config.ErrorLog = log.New(io.Discard, "", 0) // for failed handshakes
	https.StartTLS()
	defer https.Close()
	http := httptest.NewServer(http.NotFoundHandler())
	defer http.Close()
	w := newWorld(t)
	for url, want := range map[string]string{
		https.URL: "...not signed by a trusted authority. Fix launchdarkly.ca_file or the CA certificates",
		"https" + strings.TrimPrefix(http.URL, "http"): "...The server does not use TLS on this port.",
		"http://127.0.0.1:1":                           "...Nothing is listening on this address.",
		"http://nowhere.invalid":                       "...The host name cannot be resolved. Fix launchdarkly.events_url",
	} {
		w.set("S2LD_LAUNCHDARKLY_EVENTS_URL="+url).
			check(t, okConfig, okBroker, okTopic, okDead, okGroup, "FAIL  launchdarkly.events_url "+url+": "+want)
	}
}
