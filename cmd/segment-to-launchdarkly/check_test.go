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

// world is what a check looks at: a broker and LaunchDarkly, both sound unless a test makes them otherwise.
type world struct {
	broker *kfake.Cluster // nil if it is another's
	addr   string         // of the broker
	sys    system
}

func newWorld(t *testing.T, opts ...kfake.Opt) *world {
	t.Helper()
	broker, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, "segment", "dead")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	w := newWorldAround(t, broker.ListenAddrs()[0])
	w.broker = broker
	return w
}

// newWorldAround is newWorld for a broker that runs already.
func newWorldAround(t *testing.T, addr string) *world {
	t.Helper()
	ld := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(ld.Close)
	w := &world{addr: addr}
	return w.set("S2LD_KAFKA_BROKERS="+addr, "S2LD_KAFKA_TOPICS=segment", "S2LD_DEAD_LETTERS_TOPIC=dead", "S2LD_KAFKA_GROUP=g",
		"S2LD_LAUNCHDARKLY_EVENTS_URL="+ld.URL, "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc")
}

// set sets variables, the last of a name winning.
func (w *world) set(environ ...string) *world {
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		w.sys.environ = slices.DeleteFunc(w.sys.environ, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		w.sys.environ = append(w.sys.environ, e)
	}
	return w
}

// check runs the check. Each of want must begin one line of its output in turn, with the broker's address written BROKER.
// A want that begins with FAIL also has to hold what to do, after "...".
func (w *world) check(t *testing.T, want ...string) {
	t.Helper()
	out, stderr, code := run(w.sys, "check")
	out = strings.ReplaceAll(out, w.addr, "BROKER")
	wantCode := 0
	if slices.ContainsFunc(want, func(s string) bool { return strings.HasPrefix(s, "FAIL") }) {
		wantCode = exitFailure
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	sound := len(lines) == len(want) && code == wantCode && stderr == ""
	for i := range min(len(lines), len(want)) {
		head, advice, _ := strings.Cut(want[i], "...")
		sound = sound && strings.HasPrefix(lines[i], head) && strings.Contains(lines[i], advice)
	}
	if !sound {
		t.Errorf("exit %d, want %d; %s\n%s\nwant\n%s", code, wantCode, stderr, out, strings.Join(want, "\n"))
	}
}

const (
	okConfig  = "ok    configuration: valid"
	okBroker  = "ok    broker BROKER: reached"
	okTopic   = "ok    topic segment: exists, 3 partitions"
	okDead    = "ok    dead letters' topic dead: exists, 3 partitions"
	okGroup   = "ok    group g: may be read; has no offsets yet and will start at earliest"
	okOffsets = "ok    group g: may be read; has offsets in 1 partitions"
	okLD      = "ok    launchdarkly.events_url http://127.0.0.1:"
	skipID    = "skip  launchdarkly.client_side_id abc: only events.launchdarkly.com can tell"
	noBroker  = "skip  topics and group: no broker could be asked"
)

func TestCheckOfASoundWorld(t *testing.T) {
	newWorld(t).check(t, okConfig, okBroker, okTopic, okDead, okGroup, okLD, skipID)
}

func TestCheckReportsEveryProblemOfTheConfigurationAndStops(t *testing.T) {
	w := newWorld(t).set("S2LD_KAFKA_BROKER=x", "S2LD_BATCH_MAX_EVENTS=0", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE=/nowhere/token")
	w.check(t,
		"FAIL  configuration: S2LD_KAFKA_BROKER: unknown variable... the nearest is S2LD_KAFKA_BROKERS",
		"FAIL  configuration: batch.max_events: 0:...must be at least 1 (S2LD_BATCH_MAX_EVENTS)",
		"FAIL  configuration: launchdarkly.access_token_file: /nowhere/token:...cannot be read")
	out, _, code := run(system{}, "check", "--config", "/nowhere/config.yaml")
	if code != exitFailure || !strings.HasPrefix(out, "FAIL  configuration: read configuration: open /nowhere/config.yaml") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestCheckOfflineAsksNobody(t *testing.T) {
	w := newWorld(t).set("S2LD_KAFKA_BROKERS=127.0.0.1:1", "S2LD_LAUNCHDARKLY_EVENTS_URL=http://127.0.0.1:1", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE=/nowhere/token")
	if out, _, code := run(w.sys, "check", "--offline"); code != 0 || out != okConfig+"\n" {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestCheckOfBrokersThatCannotBeReached(t *testing.T) {
	w := newWorld(t)
	w.set("S2LD_KAFKA_BROKERS=127.0.0.1:1,nowhere.invalid:9092,"+w.addr).check(t, okConfig,
		"FAIL  broker 127.0.0.1:1: ...Nothing listens there: correct kafka.brokers, or start what should listen.",
		"FAIL  broker nowhere.invalid:9092: ...The name cannot be resolved: correct kafka.brokers, or this machine's DNS.",
		okBroker, okTopic, okDead, okGroup, okLD, skipID)
	w.set("S2LD_KAFKA_BROKERS=127.0.0.1:1").check(t, okConfig, "FAIL  broker 127.0.0.1:1: ", noBroker, okLD, skipID)
}

func TestCheckReachesTheBrokersThatTheClusterAdvertises(t *testing.T) {
	w := newWorld(t, kfake.NumBrokers(2))
	other := w.broker.ListenAddrs()[1]
	w.check(t, okConfig, okBroker, "ok    broker "+other+" (advertised, ID 1): reached", okTopic, okDead, okGroup, okLD, skipID)

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
	if want := "FAIL  broker 127.0.0.1:1 (advertised, ID 7): "; code != exitFailure || !strings.Contains(out, want) || !strings.Contains(out, "advertised.listeners") {
		t.Errorf("exit %d, want %s\n%s", code, want, out)
	}
}

func TestCheckOfTLS(t *testing.T) {
	source := httptest.NewTLSServer(nil) // for its certificate, which is for 127.0.0.1 and example.com
	defer source.Close()
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: source.Certificate().Raw})))
	server := &tls.Config{Certificates: source.TLS.Certificates}
	w := newWorld(t, kfake.TLS(server))

	w.check(t, okConfig, "FAIL  broker BROKER: the broker closed the connection at once. ...set kafka.tls.enabled", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_TLS_ENABLED=true")
	w.check(t, okConfig, "FAIL  broker BROKER: ...from an authority that is not trusted: correct kafka.tls.ca_file.", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_TLS_CA_FILE=" + ca)
	w.check(t, okConfig, okBroker+", TLS", okTopic, okDead, okGroup, okLD, skipID)
	w.set("S2LD_KAFKA_TLS_SERVER_NAME=kafka.test")
	w.check(t, okConfig, "FAIL  broker BROKER: ...for another name: correct kafka.brokers, or set kafka.tls.server_name.", noBroker, okLD, skipID)

	server = server.Clone()
	server.ClientAuth = tls.RequireAnyClientCert
	w = newWorld(t, kfake.TLS(server)).set("S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_TLS_CA_FILE="+ca)
	w.check(t, okConfig, "FAIL  broker BROKER: ...correct kafka.tls.cert_file and key_file", noBroker, okLD, skipID)

	// A broker takes the TLS hello for a request of an impossible size, and hangs up.
	hangsUp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		for {
			conn, err := hangsUp.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			conn.Close()
		}
	}()
	defer func() { hangsUp.Close(); <-hungUp }()
	newWorld(t).set("S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_BROKERS="+hangsUp.Addr().String()).check(t, okConfig,
		"FAIL  broker 127.0.0.1:...This listener may not speak TLS", noBroker, okLD, skipID)
}

func TestCheckOfSASL(t *testing.T) {
	w := newWorld(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "user", "right"))
	w.check(t, okConfig, "FAIL  broker BROKER: ...set kafka.tls.enabled or kafka.sasl", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_SASL_MECHANISM=scram-sha-256", "S2LD_KAFKA_SASL_USERNAME=user", "S2LD_KAFKA_SASL_PASSWORD=wrong")
	w.check(t, okConfig, "FAIL  broker BROKER: ...refuses the credentials: correct kafka.sasl.", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_SASL_PASSWORD=right")
	w.check(t, okConfig, okBroker+", SASL SCRAM-SHA-256", okTopic, okDead, okGroup, okLD, skipID)
	w = newWorld(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right"))
	w.set("S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=user", "S2LD_KAFKA_SASL_PASSWORD=wrong")
	w.check(t, okConfig, "FAIL  broker BROKER: ...refuses the credentials: correct kafka.sasl.", noBroker, okLD, skipID)
	w.set("S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_TOKEN=right")
	w.check(t, okConfig, "FAIL  broker BROKER: ...correct kafka.sasl.mechanism.", noBroker, okLD, skipID)
}

func TestCheckOfTopics(t *testing.T) {
	newWorld(t).set("S2LD_KAFKA_TOPICS=segmnt,segment", "S2LD_DEAD_LETTERS_TOPIC=none").check(t, okConfig, okBroker,
		"FAIL  topic segmnt: does not exist. ...Create it, or correct kafka.topics.",
		okTopic,
		"FAIL  dead letters' topic none: does not exist. ...Create it, or correct dead_letters.topic.",
		okGroup, okLD, skipID)
	newWorld(t).set("S2LD_DEAD_LETTERS_TOPIC=").check(t, okConfig, okBroker, okTopic, okGroup, okLD, skipID)
}

// Brokers before 4.0 offer the protocol in a preview at most, and the client would fall back to the classic one.
func TestCheckOfTheConsumerProtocol(t *testing.T) {
	w := newWorld(t).set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer")
	w.check(t, okConfig, okBroker, okTopic, okDead, okGroup, okLD, skipID)
	w = newWorld(t, kfake.MaxVersions(kversion.V3_9_0())).set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer")
	w.check(t, okConfig, okBroker, okTopic, okDead,
		"FAIL  group g: kafka.rebalance_protocol consumer needs Kafka 4.0 or later on all brokers. ...kafka.rebalance_protocol: classic.", okLD, skipID)
}

func TestCheckOfATopicWithoutALeader(t *testing.T) {
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
	w.check(t, okConfig, okBroker, "FAIL  topic segment: partition 0: LEADER_NOT_AVAILABLE...a partition without a leader cannot be used.", okDead, okGroup, okLD, skipID)
}

func TestCheckOfRights(t *testing.T) {
	allow := func(resource kmsg.ACLResourceType, name string, ops ...kmsg.ACLOperation) (acls []kfake.ACL) {
		for _, op := range ops {
			acls = append(acls, kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true})
		}
		return acls
	}
	const topic, group = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup
	const read, write, describe = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	restricted := func(acls ...[]kfake.ACL) *world {
		w := newWorld(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"),
			kfake.User("PLAIN", "user", "pass", slices.Concat(acls...)...))
		// The group exists: of one that does not, the embedded broker asks no rights, where Kafka does.
		admin, err := kadm.NewOptClient(kgo.SeedBrokers(w.addr), kgo.SASL(plain.Auth{User: "admin", Pass: "admin"}.AsMechanism()))
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
	restricted(allow(topic, "segment", read), allow(topic, "dead", write), allow(group, "g", read)).
		check(t, okConfig, okBroker, okTopic, okDead, okOffsets, okLD, skipID)
	restricted().check(t, okConfig, okBroker,
		"FAIL  topic segment: may not be seen by this user. ...Grant READ on the topic to this user.",
		"FAIL  dead letters' topic dead: may not be seen by this user. ...Grant WRITE on the topic to this user.",
		"FAIL  group g: may not be read by this user. ...Grant READ on the group",
		okLD, skipID)
	restricted(allow(topic, "segment", describe), allow(topic, "dead", read), allow(group, "g", describe)).check(t, okConfig, okBroker,
		"FAIL  topic segment: exists, but this user may not READ it. ...Grant READ on the topic to this user.",
		"FAIL  dead letters' topic dead: exists, but this user may not WRITE it. ...Grant WRITE on the topic to this user.",
		"FAIL  group g: this user may not join it or commit. ...Grant READ on the group",
		okLD, skipID)
}

func TestCheckOfTheGroup(t *testing.T) {
	w := newWorld(t)
	join := func(balancer kgo.GroupBalancer) *kgo.Client {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		cl, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.ConsumeTopics("segment"), kgo.ConsumerGroup("g"),
			kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "segment", Value: []byte("{}")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.CommitRecords(ctx, cl.PollFetches(ctx).Records()...); err != nil {
			t.Fatal(err)
		}
		return cl
	}
	member := join(kgo.RangeBalancer())
	w.check(t, okConfig, okBroker, okTopic, okDead,
		`FAIL  group g: has members (1) that share partitions by "range", which cannot be mixed with ours. ...Stop them before this program starts`, okLD, skipID)
	w.set("S2LD_KAFKA_REBALANCE_PROTOCOL=consumer").check(t, okConfig, okBroker, okTopic, okDead, okOffsets, okLD, skipID)
	w.set("S2LD_KAFKA_REBALANCE_PROTOCOL=classic")
	member.Close()
	w.check(t, okConfig, okBroker, okTopic, okDead, okOffsets, okLD, skipID)
}

// launchDarkly answers for LaunchDarkly's hosts. A status of 0 is a connection that fails.
type launchDarkly map[string]int

func (ld launchDarkly) RoundTrip(req *http.Request) (*http.Response, error) {
	code := ld[req.Method+" "+req.URL.String()]
	if code == 0 {
		return nil, errors.New("no such address: " + req.URL.String())
	}
	return &http.Response{StatusCode: code, Body: http.NoBody, Request: req, Header: http.Header{"Location": {"https://elsewhere.test/"}}}, nil
}

func TestCheckOfLaunchDarkly(t *testing.T) {
	const events = "https://events.launchdarkly.com"
	w := newWorld(t).set("S2LD_LAUNCHDARKLY_EVENTS_URL=" + events)
	kafka := []string{okConfig, okBroker, okTopic, okDead, okGroup}
	for _, c := range []struct {
		answers launchDarkly
		want    []string
	}{
		{launchDarkly{"GET " + events: 404, "HEAD " + goalsURL + "abc": 200},
			[]string{"ok    launchdarkly.events_url " + events + ": reached (it answers an empty GET with 404)", "ok    launchdarkly.client_side_id abc: known to LaunchDarkly"}},
		{launchDarkly{"GET " + events: 301, "HEAD " + goalsURL + "abc": 404},
			[]string{"ok    launchdarkly.events_url " + events + ": reached (it answers an empty GET with 301)",
				"FAIL  launchdarkly.client_side_id abc: not known to LaunchDarkly. ...Copy the client-side ID"}},
		{launchDarkly{"GET " + events: 404, "HEAD " + goalsURL + "abc": 503},
			[]string{"ok    launchdarkly.events_url", "skip  launchdarkly.client_side_id abc: ...(status 503)"}},
		{launchDarkly{"GET " + events: 404},
			[]string{"ok    launchdarkly.events_url", "skip  launchdarkly.client_side_id abc: ...no such address"}},
		{launchDarkly{},
			[]string{"FAIL  launchdarkly.events_url " + events + ": no such address: " + events + ". ...Correct launchdarkly.events_url"}},
	} {
		w.sys.transport = c.answers
		w.check(t, slices.Concat(kafka, c.want)...)
	}
	w.sys.transport = launchDarkly{"GET " + events: 404}
	w.set("S2LD_LAUNCHDARKLY_ENDPOINT=metric_import", "S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN=hunter2",
		"S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=e")
	w.check(t, slices.Concat(kafka, []string{"ok    launchdarkly.events_url", "skip  launchdarkly.access_token: "})...)
}

func TestCheckOfLaunchDarklysAddress(t *testing.T) {
	https := httptest.NewUnstartedServer(http.NotFoundHandler())
	https.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail
	https.StartTLS()
	defer https.Close()
	http := httptest.NewServer(http.NotFoundHandler())
	defer http.Close()
	w := newWorld(t)
	for address, want := range map[string]string{
		https.URL: "...from an authority that is not trusted: correct the authorities that this machine trusts.",
		"https" + strings.TrimPrefix(http.URL, "http"): "...It does not speak TLS there: correct the port or the scheme.",
		"http://127.0.0.1:1":                           "...Nothing listens there: correct launchdarkly.events_url",
		"http://nowhere.invalid":                       "...The name cannot be resolved: correct launchdarkly.events_url",
	} {
		w.set("S2LD_LAUNCHDARKLY_EVENTS_URL="+address).check(t, okConfig, okBroker, okTopic, okDead, okGroup, "FAIL  launchdarkly.events_url "+address+": "+want)
	}
}

func TestAdviceOnSilence(t *testing.T) {
	for _, err := range []error{context.DeadlineExceeded, &net.OpError{Op: "dial", Err: timeoutError{}}} {
		if got := networkAdvice(err, "kafka.brokers", ""); !strings.HasPrefix(got, "No answer came in time") {
			t.Errorf("%v: %s", err, got)
		}
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
