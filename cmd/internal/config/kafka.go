package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const dialTimeout = 10 * time.Second // with the TLS handshake

// KafkaOptions returns what every client of these brokers needs: addresses, client ID, rack, TLS and SASL. Certificates
// and secrets that are in files are read again for each new connection. The error is a [Problem] with
// a certificate file.
func (c *Config) KafkaOptions() ([]kgo.Opt, error) {
	k := c.Kafka
	opts := []kgo.Opt{kgo.SeedBrokers(k.Brokers...), kgo.ClientID("segment-to-launchdarkly")}
	if k.Rack != "" {
		opts = append(opts, kgo.Rack(k.Rack))
	}
	dial := dialReset
	if k.TLS.Enabled {
		if _, err := k.TLS.config(); err != nil {
			return nil, err
		}
		dial = k.TLS.dial
	}
	opts = append(opts, kgo.Dialer(dial))
	if m := k.SASL.mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// dialReset opens a connection that is closed with a reset. Otherwise the kernel goes on sending what was written to it,
// for minutes after an outage, and a commit that the program has given up on would be applied after newer ones. The
// consumer guards against that by itself; the reset makes it rare.
func dialReset(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	}
	return conn, err
}

// dial opens one connection with the certificates as they are now.
func (t TLS) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	cfg, err := t.config()
	if err != nil {
		return nil, err
	}
	if cfg.ServerName == "" {
		if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := dialReset(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// config reads the files. An error is a [Problem].
func (t TLS) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, Problem{Key: "kafka.tls.ca_file", Value: t.CAFile, Rule: "cannot be read: " + reason(err)}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Problem{Key: "kafka.tls.ca_file", Value: t.CAFile, Rule: "must hold a certificate in PEM form"}
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, Problem{Key: "kafka.tls.cert_file", Value: t.CertFile, Rule: "must fit kafka.tls.key_file: " + reason(err)}
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// mechanism returns the SASL mechanism, nil for none. Its function is asked for each new connection.
func (s SASL) mechanism() sasl.Mechanism {
	scramAuth := func(context.Context) (scram.Auth, error) {
		password, err := s.Password.Read()
		return scram.Auth{User: s.Username, Pass: password}, err
	}
	switch s.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := s.Password.Read()
			return plain.Auth{User: s.Username, Pass: password}, err
		})
	case "SCRAM-SHA-256":
		return scram.Sha256(scramAuth)
	case "SCRAM-SHA-512":
		return scram.Sha512(scramAuth)
	case "OAUTHBEARER":
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := s.Token.Read()
			return oauth.Auth{Token: token}, err
		})
	case "AWS_MSK_IAM":
		return aws.ManagedStreamingIAM(func(context.Context) (aws.Auth, error) { return awsCredentials() })
	}
	return nil
}
