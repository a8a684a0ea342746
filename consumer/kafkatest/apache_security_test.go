//go:build unix

package kafkatest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func TestSecuredApache(t *testing.T) {
	a := NewApache(t, ApacheConfig{Nodes: 1, Users: map[string]string{"alice": `a "quoted" secret\`, "bob": "bob's"}})
	ca, err := os.ReadFile(a.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate in the CA file")
	}
	certFile, err := a.ClientCert("alice")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, certFile)
	if err != nil {
		t.Fatal(err)
	}
	trust := kgo.DialTLSConfig(&tls.Config{RootCAs: roots})
	show := kgo.DialTLSConfig(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}})
	as := func(m sasl.Mechanism) kgo.Opt { return kgo.SASL(m) }
	alice := func(password string) map[string]kgo.Opt {
		s := scram.Auth{User: "alice", Pass: password}
		return map[string]kgo.Opt{
			"PLAIN":         as(plain.Auth{User: "alice", Pass: password}.AsMechanism()),
			"SCRAM-SHA-256": as(s.AsSha256Mechanism()),
			"SCRAM-SHA-512": as(s.AsSha512Mechanism()),
		}
	}

	ping := func(l Listener, opts ...kgo.Opt) error {
		// Some failures produce no response, so the timeout is short.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		cl, err := connect(a.BrokersBy(l), opts, kgo.RequestRetries(0))
		if err != nil {
			return err
		}
		defer cl.Close()
		return cl.Ping(ctx)
	}
	accepts := func(name string, l Listener, opts ...kgo.Opt) {
		t.Run(name, func(t *testing.T) {
			if err := ping(l, opts...); err != nil {
				t.Errorf("rejected: %v", err)
			}
		})
	}
	rejects := func(name string, l Listener, opts ...kgo.Opt) {
		t.Run(name, func(t *testing.T) {
			if err := ping(l, opts...); err == nil {
				t.Error("accepted")
			} else {
				t.Log(err)
			}
		})
	}
	accepts("plain", Plain)
	accepts("TLS", TLS, trust)
	rejects("TLS from an unknown authority", TLS, kgo.DialTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()}))
	rejects("no TLS", TLS)
	accepts("mutual TLS", MutualTLS, show)
	rejects("mutual TLS without a certificate", MutualTLS, trust)
	rejects("no SASL", SASL)
	for mechanism, opt := range alice(a.cfg.Users["alice"]) {
		accepts(mechanism, SASL, opt)
		accepts(mechanism+" over TLS", SASLTLS, opt, trust)
		rejects(mechanism+" without TLS", SASLTLS, opt)
	}
	for mechanism, opt := range alice("wrong") {
		rejects(mechanism+" with a wrong password", SASL, opt)
	}

	t.Run("users need permissions", func(t *testing.T) {
		ctx := t.Context()
		topic := "secret"
		if err := CreateTopic(ctx, a.Brokers(), topic, 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := Produce(ctx, a.Brokers(), topic, 0, 1, func(int) []byte { return nil }); err != nil {
			t.Fatal(err)
		}
		read := kadm.NewACLs().Topics(topic).Operations(kadm.OpRead)
		if err := a.Allow(ctx, "alice", read); err != nil {
			t.Fatal(err)
		}
		bob := kgo.SASL(plain.Auth{User: "bob", Pass: a.cfg.Users["bob"]}.AsMechanism())
		if _, err := EndOffsets(ctx, a.BrokersBy(SASL), topic, bob); !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("bob read: %v", err)
		}
		for name, opt := range alice(a.cfg.Users["alice"]) {
			if all, err := ReadAll(ctx, a.BrokersBy(SASL), topic, opt); err != nil || len(all) != 1 {
				t.Errorf("alice read %d records with %s (%v), want 1", len(all), name, err)
			}
		}
		if all, err := ReadAll(ctx, a.BrokersBy(MutualTLS), topic, show); err != nil || len(all) != 1 {
			t.Errorf("alice read %d records with her certificate (%v), want 1", len(all), err)
		}
		err := Produce(ctx, a.BrokersBy(MutualTLS), topic, 1, 2, func(int) []byte { return nil }, show,
			kgo.DisableIdempotentWrite()) // would fail earlier, with CLUSTER_AUTHORIZATION_FAILED
		if !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("alice wrote: %v", err)
		}
		if _, err := Committed(ctx, a.BrokersBy(SASL), "group", bob); !errors.Is(err, kerr.GroupAuthorizationFailed) {
			t.Errorf("bob read a group: %v", err)
		}
	})
}
