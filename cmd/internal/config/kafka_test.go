package config

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
)

// authority is a certificate authority for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate for 127.0.0.1 and kafka.test, and its key, in PEM form.
func (a authority) issue(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"kafka.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return certPEM, keyPEM
}

// serverConfig returns the TLS configuration of a broker that requires client certificates issued
// by a.
func (a authority) serverConfig(t *testing.T) *tls.Config {
	t.Helper()
	cert, err := tls.X509KeyPair(a.issue(t))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
}

// ping connects a new client with the options of c.
func ping(t *testing.T, c *Config) error {
	t.Helper()
	opts, err := c.KafkaOptions()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return cl.Ping(ctx)
}

func TestCertificatesAreReadAgainForEachConnection(t *testing.T) {
	old, now := newAuthority(t), newAuthority(t)
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(now.serverConfig(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()

	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(trusted, own authority) {
		t.Helper()
		certPEM, keyPEM := own.issue(t)
		for path, content := range map[string][]byte{ca: trusted.pem, cert: certPEM, key: keyPEM} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(now, now)
	c, err := Load("", []string{
		"S2LD_KAFKA_BROKERS=" + broker.ListenAddrs()[0], "S2LD_KAFKA_TOPICS=segment",
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc", "S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_TLS_CA_FILE=" + ca,
		"S2LD_KAFKA_TLS_CERT_FILE=" + cert, "S2LD_KAFKA_TLS_KEY_FILE=" + key,
	})
	if err != nil {
		t.Fatal(err)
	}
	opts, err := c.KafkaOptions()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()

	// All steps use the same client. Only its files change.
	for _, step := range []struct {
		name         string
		trusted, own authority
		want         bool
	}{{"wrong CA", old, now, false}, {"wrong certificate", now, old, false}, {"both correct", now, now, true}} {
		write(step.trusted, step.own)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := cl.Ping(ctx); (err == nil) != step.want {
			t.Errorf("%s: %v", step.name, err)
		}
		cancel()
	}
}

func TestServerNameIsVerified(t *testing.T) {
	a := newAuthority(t)
	server := a.serverConfig(t)
	server.ClientAuth = tls.NoClientCert
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(server))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	c := defaults()
	c.Kafka.Brokers = broker.ListenAddrs()
	c.Kafka.TLS = TLS{Enabled: true, CAFile: writeFile(t, "ca.pem", string(a.pem))}
	for name, want := range map[string]bool{"": true, "kafka.test": true, "other.test": false} {
		c.Kafka.TLS.ServerName = name
		if err := ping(t, c); (err == nil) != want {
			t.Errorf("server name %q: %v", name, err)
		}
	}
}

func TestTLSVersionIsAtLeast12(t *testing.T) {
	cfg, err := TLS{Enabled: true}.config()
	if err != nil || cfg.MinVersion != tls.VersionTLS12 || cfg.InsecureSkipVerify {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestPasswordsAreReadAgainForEachConnection(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
			kfake.Superuser(mechanism, "user", "new"))
		if err != nil {
			t.Fatal(err)
		}
		c := defaults()
		c.Kafka.Brokers = broker.ListenAddrs()
		path := writeFile(t, "password", "old\n")
		c.Kafka.SASL = SASL{Mechanism: mechanism, Username: "user", Password: Secret{File: path}}
		if err := ping(t, c); err == nil {
			t.Errorf("%s: connected with the old password", mechanism)
		}
		if err := os.WriteFile(path, []byte("new\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ping(t, c); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		broker.Close()
	}
}

func mechanismOf(t *testing.T, c *Config) sasl.Mechanism {
	t.Helper()
	m, err := c.mechanism()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBearerTokenIsReadAgainForEachConnection(t *testing.T) {
	path := writeFile(t, "token", "old")
	c := defaults()
	c.Kafka.SASL.Mechanism, c.Kafka.SASL.Token.File = "OAUTHBEARER", path
	mechanism := mechanismOf(t, c)
	for _, token := range []string{"old", "new"} {
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, first, err := mechanism.Authenticate(t.Context(), "k:9092")
		if err != nil || !bytes.Contains(first, []byte("\x01auth=Bearer "+token+"\x01")) {
			t.Errorf("%s: %q, %v", token, first, err)
		}
	}
}

func TestClientIDIsConfigurable(t *testing.T) {
	c := defaults()
	c.Kafka.Brokers, c.Kafka.ClientID = []string{"k:9092"}, "mine"
	opts, err := c.KafkaOptions()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if id := cl.OptValue(kgo.ClientID); id != "mine" {
		t.Errorf("client ID %v", id)
	}
}
